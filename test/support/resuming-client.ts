/** A client as protocol.md wants them: it comes back with jitter, resumes what it held, and leaves before it is thrown out. */
import { setTimeout as pause } from "node:timers/promises";
import type { HeldQuery } from "./held-query.ts";
import { ModelClient, type ModelOptions, type ModelRequest, type ModelSubscription } from "./model-client.ts";
import type { Random } from "./random.ts";

export interface ResumingOptions extends ModelOptions {
  /** Where to connect now; asked before each attempt. */
  readonly url: () => string;
  readonly requests: Readonly<Record<string, ModelRequest>>;
  readonly random: Random;
}

/** Upper ends of the pause before an attempt, in milliseconds; it doubles up to the last. */
const BACKOFF_MS = { first: 60, last: 500 };
const RETRY_MS = 100;

export class ResumingClient {
  readonly faults: string[] = [];
  /** Counted over all connections: starts of subscriptions, resets, and close codes. */
  readonly starts: Record<string, number> = {};
  readonly closes: Record<string, number> = {};
  connections = 0;
  subscriptions: ModelSubscription[];
  readonly #options: ResumingOptions;
  #connection: ModelClient | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(options: ResumingOptions) {
    this.#options = options;
    this.subscriptions = Object.entries(options.requests).map(([id, request]) => ({
      id,
      request,
      held: undefined,
    }));
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#connection?.client.socket.terminate();
    await this.#running;
  }

  /** Every subscription stands, and holds what it should. */
  get isFollowing(): boolean {
    return this.subscriptions.every(({ id }) => this.heldOf(id)?.phase === "following");
  }

  /** The present result of an id. */
  heldOf(id: string): HeldQuery | undefined {
    return this.#connection?.subscriptions.get(id)?.held;
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#stopped) {
      const connection = await this.#connect(failures++);
      if (connection === undefined) continue;
      this.#connection = connection;
      if (await this.#subscribeAll(connection)) failures = 0;
      await this.#untilOver(connection);
      this.#leave(connection);
    }
  }

  async #connect(failures: number): Promise<ModelClient | undefined> {
    const ceiling = Math.min(BACKOFF_MS.last, BACKOFF_MS.first * 2 ** failures);
    await pause(this.#options.random.int(0, ceiling));
    if (this.#stopped) return undefined;
    const connection = await ModelClient.connect(this.#options.url(), this.#options);
    if (connection !== undefined) this.connections++;
    return connection;
  }

  /** Resumes everything; whether all of it stands. */
  async #subscribeAll(connection: ModelClient): Promise<boolean> {
    const answers = await Promise.all(
      this.subscriptions.map((subscription) => this.#subscribe(connection, subscription)),
    );
    return answers.every((stands) => stands);
  }

  async #subscribe(connection: ModelClient, { id, request, held }: ModelSubscription): Promise<boolean> {
    for (;;) {
      const answer = await connection.subscribe(id, request, held);
      if (answer === undefined) return false;
      if (answer.type === "subscribed") return true;
      if (answer.code !== "unavailable") this.faults.push(`${answer.code}: ${answer.message}`);
      await pause(RETRY_MS + this.#options.random.int(0, RETRY_MS));
    }
  }

  /** Until the connection has ended, or is to be left: make the next one first, then break. */
  async #untilOver(connection: ModelClient): Promise<void> {
    while (connection.closed === undefined && !this.#stopped) {
      await Promise.race([connection.ended, connection.draining]);
      if (connection.closed !== undefined || !connection.isDraining) continue;
      await pause(this.#options.random.int(0, Math.floor(connection.drainsWithinMs / 2)));
      if (connection.closed !== undefined) return;
      // Nothing that the old one still brings takes effect from here on; the next one continues just there.
      const next = await ModelClient.connect(this.#options.url(), this.#options);
      if (next === undefined) continue;
      this.connections++;
      this.#keep(connection);
      this.#connection = next;
      await this.#subscribeAll(next);
      connection.client.socket.close();
      this.#count(connection);
      await this.#untilOver(next);
      this.#leave(next);
      return;
    }
  }

  #leave(connection: ModelClient): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#keep(connection);
    this.#count(connection);
  }

  /** Takes over what the connection holds. Ids that it never came to subscribe keep what they had. */
  #keep(connection: ModelClient): void {
    const held = new Map(connection.release().map((subscription) => [subscription.id, subscription]));
    this.subscriptions = this.subscriptions.map((subscription) => held.get(subscription.id) ?? subscription);
  }

  #count(connection: ModelClient): void {
    this.faults.push(...connection.faults);
    for (const [start, count] of Object.entries(connection.starts)) {
      this.starts[start] = (this.starts[start] ?? 0) + count;
    }
    const code = connection.closed?.code ?? "left";
    this.closes[code] = (this.closes[code] ?? 0) + 1;
    if (typeof code === "number" && code >= 4400) this.faults.push(`closed with ${code}`);
  }
}
