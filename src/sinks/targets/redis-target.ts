/** A stream in Redis. Each batch is one transaction, so that no part of it is missing and none is out of order. */
import { setMaxListeners } from "node:events";
import {
  loadRedis,
  RedisConnection,
  RedisError,
  type RedisPackage,
} from "../../source/tail/redis-connection.ts";
import type { SendResult, SinkMessage, Target } from "../target.ts";
import type { RedisTargetOptions } from "./options.ts";
import { type Remedies, sayReason } from "./say-reason.ts";

const remedies = (stream: string): Remedies => [
  [
    /WRONGTYPE/,
    `The key ${JSON.stringify(stream)} holds no stream: remove it, or name another stream in the target`,
  ],
  [/NOPERM/, `Give the user the right to MULTI, XADD and EXEC on the key ${JSON.stringify(stream)}`],
  [/WRONGPASS|NOAUTH|auth/i, "Look at user and password in url"],
  [/OOM/, "Redis has no memory left: lower maxLength of the target, or raise maxmemory"],
  [/READONLY/, "This Redis is a replica: name the primary in url"],
  [/MISCONF/, "Redis cannot write its data to disk: look at its log"],
  [/did not answer/, "Look at Redis and the network, or raise timeout of the target"],
  [/ECONNREFUSED|ENOTFOUND|ETIMEDOUT|closed|connect/i, "Look at url of the target, and whether Redis runs"],
];

/** Adds messages to one stream. */
export class RedisTarget implements Target {
  readonly batchSize: number;
  readonly #options: RedisTargetOptions;
  readonly #redis: RedisPackage;
  #opening: Promise<RedisConnection> | undefined;
  #connection: RedisConnection | undefined;

  private constructor(options: RedisTargetOptions, redis: RedisPackage) {
    this.batchSize = options.batch;
    this.#options = options;
    this.#redis = redis;
  }

  /**
   * @param option The option in the file that asks for it.
   * @throws {StartupError} The package is not installed.
   */
  static async load(options: RedisTargetOptions, option: string): Promise<RedisTarget> {
    return new RedisTarget(options, await loadRedis(option));
  }

  async send(messages: readonly SinkMessage[], signal: AbortSignal): Promise<readonly SendResult[]> {
    const result = await this.#sendAll(messages, signal);
    return messages.map(() => result);
  }

  async close(): Promise<void> {
    this.#connection?.close();
    // A connection that is being opened has nobody who would close it later.
    const opened = await this.#opening?.catch(() => undefined); // the call that opens it handles the error
    opened?.close();
  }

  async #sendAll(messages: readonly SinkMessage[], signal: AbortSignal): Promise<SendResult> {
    const cancel = () => this.#connection?.close();
    // Many batches at the same time have one signal. Node would take their listeners for a leak.
    setMaxListeners(0, signal);
    signal.addEventListener("abort", cancel, { once: true });
    try {
      const connection = await this.#open();
      if (signal.aborted) return { kind: "unavailable", reason: "the sink is stopping" };
      return await this.#add(connection, messages);
    } catch (error) {
      if (!(error instanceof RedisError)) throw error;
      // Redis refuses for reasons that concern every message: memory, rights, a replica, a key of another type.
      return this.#toUnavailable(error);
    } finally {
      signal.removeEventListener("abort", cancel);
    }
  }

  async #open(): Promise<RedisConnection> {
    if (this.#connection?.isOpen === true) return this.#connection;
    const { url, timeoutMs } = this.#options;
    this.#opening ??= RedisConnection.open(this.#redis, url, timeoutMs).finally(() => {
      this.#opening = undefined;
    });
    this.#connection = await this.#opening;
    return this.#connection;
  }

  async #add(connection: RedisConnection, messages: readonly SinkMessage[]): Promise<SendResult> {
    const { stream, maxLength, timeoutMs } = this.#options;
    const bound = ["MAXLEN", "~", String(maxLength)];
    const commands = messages.map(({ id, key, event }) => {
      const fields = ["id", id, "key", key, "event", JSON.stringify(event)];
      return ["XADD", stream, ...bound, "*", ...fields];
    });
    // All are queued in one turn, so that no other call's commands are between them.
    const replies = await Promise.all(
      [["MULTI"], ...commands, ["EXEC"]].map((command) => connection.command(command, timeoutMs)),
    );
    const added = replies.at(-1);
    const problem = Array.isArray(added) ? added.find((reply) => reply instanceof Error) : undefined;
    if (problem === undefined) return { kind: "accepted" };
    return this.#toUnavailable(problem);
  }

  #toUnavailable({ message }: Error): SendResult {
    return { kind: "unavailable", reason: sayReason("Redis", message, remedies(this.#options.stream)) };
  }
}
