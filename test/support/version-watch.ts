/**
 * Counts what a client misses: every document has a version that each write raises by one, so that each change
 * must follow the last one seen of its document exactly.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Collection, Db } from "mongodb";
import { WsClient } from "./ws-client.ts";

export interface Versioned {
  _id: number;
  v: number;
  group: number;
}

export interface Faults {
  lost: number;
  duplicated: number;
  outOfOrder: number;
  resets: number;
}

/** Writes to few documents, each raised by one version at a time, some deleted and made anew; counts what it wrote. */
export class VersionWriter {
  readonly #collection: Collection<Versioned>;
  readonly #first: number;
  written = 0;
  #next: number;
  #live: Versioned[] = [];
  #stopped = false;
  #done: Promise<void> = Promise.resolve();

  /** @param first Number of the first document; a writer has documents of its own. */
  constructor(db: Db, first: number) {
    this.#collection = db.collection<Versioned>("things", { writeConcern: { w: "majority" } });
    this.#first = first;
    this.#next = first;
  }

  /** @param perSecond How many writes a second it aims at. */
  start(perSecond: number): void {
    this.#done = this.#run(1_000 / perSecond);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
  }

  async #run(intervalMs: number): Promise<void> {
    let due = performance.now();
    while (!this.#stopped) {
      due = Math.max(due + intervalMs, performance.now() - 1_000);
      const waitMs = due - performance.now();
      if (waitMs > 1) await delay(waitMs);
      await this.#write();
    }
  }

  /** Every write can be made again without doing it twice: the outcome of one that failed halfway is not known. */
  async #write(): Promise<void> {
    const document = this.#live[Math.floor(Math.random() * this.#live.length)];
    if (document === undefined || this.#live.length < 20) {
      const made = { _id: this.#next++, v: 0, group: this.#first % 2 };
      await this.#insist(() => this.#collection.replaceOne({ _id: made._id }, made, { upsert: true }));
      this.#live.push(made);
    } else if (Math.random() < 0.05) {
      this.#live = this.#live.filter((other) => other !== document);
      await this.#insist(() => this.#collection.deleteOne({ _id: document._id }));
    } else {
      const v = ++document.v;
      await this.#insist(() => this.#collection.updateOne({ _id: document._id, v: v - 1 }, { $set: { v } }));
    }
    this.written++;
  }

  async #insist(write: () => Promise<unknown>): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        await write();
        return;
      } catch (error) {
        if (attempt > 200) throw error;
        await delay(100);
      }
    }
  }
}

/** One client that comes back, by cursor and ticket, whatever happens to the service. */
export class VersionWatch {
  readonly faults: Faults = { lost: 0, duplicated: 0, outOfOrder: 0, resets: 0 };
  readonly state = new Map<number, Versioned>();
  changes = 0;
  resumed = 0;
  readonly #urlOf: () => string;
  readonly #token: string;
  readonly #filter: object;
  #ticket = "";
  #cursor = "";
  #isWhole = false;
  #stopped = false;
  #current: WsClient | undefined;
  readonly #done: Promise<void>;

  constructor(urlOf: () => string, token: string, filter: object) {
    this.#urlOf = urlOf;
    this.#token = token;
    this.#filter = filter;
    this.#done = this.#run();
  }

  get client(): WsClient | undefined {
    return this.#current;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#current?.socket.terminate();
    await this.#done;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await this.#connectOnce().catch(() => {});
      this.#current = undefined;
      await delay(Math.random() * 100);
    }
  }

  async #connectOnce(): Promise<void> {
    const client = await WsClient.connect(this.#urlOf(), { token: this.#token });
    if (client.closed !== undefined || this.#stopped) return client.socket.terminate();
    client.onMessage = (message) => this.#take(message);
    this.#current = client;
    client.send({
      type: "subscribe",
      id: "watch",
      collection: "things",
      filter: this.#filter,
      ...(this.#isWhole ? { cursor: this.#cursor, ticket: this.#ticket } : {}),
    });
    const failed = await client.until(({ type }) => type === "error", 0, 2 ** 31 - 1);
    // `unavailable`, say: later.
    if (failed !== undefined) client.socket.terminate();
  }

  #take(message: Record<string, unknown> & { type: string }): void {
    if (typeof message["ticket"] === "string") this.#ticket = message["ticket"];
    const begins = message.type === "subscribed" && message["start"] !== "resumed";
    if (message.type === "subscribed" && !begins) this.resumed++;
    if (begins || message.type === "reset") {
      if (this.#isWhole) this.faults.resets++;
      this.#isWhole = false;
      this.state.clear();
    }
    if (message.type === "snapshot") {
      for (const doc of message["docs"] as Versioned[]) this.state.set(doc._id, doc);
      if (message["last"] === true) this.#isWhole = true;
    }
    if (["added", "changed", "removed"].includes(message.type)) this.#change(message);
    // Until the snapshot is whole there is nothing to go on from.
    if (this.#isWhole && typeof message["cursor"] === "string") this.#cursor = message["cursor"];
  }

  #change(message: Record<string, unknown> & { type: string }): void {
    this.changes++;
    if (message.type === "removed") {
      if (!this.state.delete(message["_id"] as number)) this.faults.duplicated++;
      return;
    }
    const doc = message["doc"] as Versioned;
    const known = this.state.get(doc._id);
    this.state.set(doc._id, doc);
    if (message.type === "added") {
      if (known !== undefined) this.faults.duplicated++;
      else if (doc.v !== 0) this.faults.lost++;
      return;
    }
    if (known === undefined) this.faults.lost++;
    else if (doc.v === known.v) this.faults.duplicated++;
    else if (doc.v < known.v) this.faults.outOfOrder++;
    else if (doc.v > known.v + 1) this.faults.lost += doc.v - known.v - 1;
  }
}

export const sumOfFaults = (watches: readonly VersionWatch[]): Faults =>
  watches.reduce(
    (sum, { faults }) => ({
      lost: sum.lost + faults.lost,
      duplicated: sum.duplicated + faults.duplicated,
      outOfOrder: sum.outOfOrder + faults.outOfOrder,
      resets: sum.resets + faults.resets,
    }),
    { lost: 0, duplicated: 0, outOfOrder: 0, resets: 0 },
  );
