/**
 * One connection to Redis, with a limit for every wait. It never reconnects by itself: its owner knows what to read
 * again. Errors and log lines never contain the URL, which may hold a password.
 */
import { StartupError } from "../startup-error.ts";
import { withoutCredentials } from "../without-credentials.ts";

/** The package that talks to Redis, an optional dependency. */
export type RedisPackage = typeof import("@redis/client");

/**
 * Loads the package.
 * @param option The option that needs it, as the file spells it.
 * @throws {StartupError} It is not installed.
 */
export async function loadRedis(option: string): Promise<RedisPackage> {
  try {
    return await import("@redis/client");
  } catch (cause) {
    const text = `${option} needs a package that is not installed: npm install @redis/client@6, or remove ${option}`;
    throw new StartupError(text, [], { cause });
  }
}

/** Why Redis could not be used: values of a label. */
export type RedisProblem = "unreachable" | "no-answer" | "refused";

/** An operation on Redis failed. The text is safe to log. */
export class RedisError extends Error {
  override readonly name = "RedisError";
  readonly problem: RedisProblem;

  constructor(problem: RedisProblem, text: string) {
    super(text);
    this.problem = problem;
  }
}

/** How long Redis may take to accept a connection, or to answer a command that does not block. In milliseconds. */
const ANSWER_MS = 1_000;

type Client = ReturnType<RedisPackage["createClient"]>;

/** A connection to Redis. */
export class RedisConnection {
  readonly #redis: RedisPackage;
  readonly #url: string;
  readonly #client: Client;
  #isOpen = true;

  private constructor(redis: RedisPackage, url: string, limitMs: number) {
    this.#redis = redis;
    this.#url = url;
    // The same replies from every version of Redis and Valkey.
    this.#client = redis.createClient({
      url,
      RESP: 2,
      disableOfflineQueue: true,
      disableClientInfo: true,
      socket: { reconnectStrategy: false, connectTimeout: limitMs },
    }) as unknown as Client; // the options narrow the type to RESP 2, which nothing here uses
    this.#client.on("error", () => this.close());
  }

  /**
   * @param limitMs How long it may take, in milliseconds.
   * @throws {RedisError}
   */
  static async open(redis: RedisPackage, url: string, limitMs = ANSWER_MS): Promise<RedisConnection> {
    let connection: RedisConnection;
    try {
      connection = new RedisConnection(redis, url, limitMs);
    } catch {
      // Without its text, which may quote the URL.
      throw new RedisError("unreachable", "the package cannot use the URL");
    }
    await connection.#within(limitMs, () => connection.#client.connect());
    return connection;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Runs a command. Strings of the reply are buffers.
   * @param limitMs How long the answer may take, in milliseconds.
   * @throws {RedisError} Unless Redis has refused the command, the connection is closed then.
   */
  async command(args: readonly (string | Buffer)[], limitMs = ANSWER_MS): Promise<unknown> {
    const typeMapping = { [this.#redis.RESP_TYPES.BLOB_STRING]: Buffer };
    return this.#within(limitMs, () => this.#client.sendCommand([...args], { typeMapping }));
  }

  close(): void {
    this.#isOpen = false;
    if (this.#client.isOpen) this.#client.destroy();
  }

  async #within<T>(limitMs: number, run: () => Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      const fail = () => reject(new RedisError("no-answer", `Redis did not answer within ${limitMs} ms`));
      // If the event loop was busy, the answer may have arrived already. It is read before the second turn.
      timer = setTimeout(() => setImmediate(() => setImmediate(fail)), limitMs);
    });
    const running = run();
    running.catch(() => {}); // handled below, unless the limit was first
    try {
      return await Promise.race([running, late]);
    } catch (error) {
      const safe = this.#toSafe(error);
      if (safe.problem !== "refused" || !this.#client.isReady) this.close();
      throw safe;
    } finally {
      clearTimeout(timer);
    }
  }

  #toSafe(error: unknown): RedisError {
    if (error instanceof RedisError) return error;
    const text = withoutCredentials(error instanceof Error ? error.message : String(error), this.#url);
    const isRefusal = error instanceof this.#redis.ErrorReply;
    return new RedisError(isRefusal ? "refused" : "unreachable", text);
  }
}
