/** A consumer that keeps the messages of a feed, and functions that subscribe it. Needs no database. */
import assert from "node:assert/strict";
import { Account } from "../../src/feed/account.ts";
import type { Chunk } from "../../src/feed/chunk.ts";
import type { Delivery } from "../../src/feed/delivery.ts";
import type { StartRequest } from "../../src/feed/delivery-opening.ts";
import type { DeliveryTerms } from "../../src/feed/delivery-parts.ts";
import type { Feed } from "../../src/feed/feed.ts";
import type { LiveQuerySpec } from "../../src/feed/live-query-spec.ts";
import { FeedLimits } from "../../src/feed/options.ts";
import { UNCONDITIONAL } from "../../src/feed/rights.ts";
import type { Sink } from "../../src/feed/sink.ts";

export const FRESH: StartRequest = { snapshot: true, resumeFrom: null, refused: null };

export type Message = Record<string, unknown> & { type: string };

/** A consumer that keeps what it is sent, and can be made slow. */
export class Recorder implements Sink {
  readonly mode = "ejson";
  readonly compression = null;
  readonly messages: Message[] = [];
  readonly errors: unknown[] = [];
  /** The result as the messages make it, by the text of the `_id`. */
  readonly state = new Map<string, unknown>();
  /** The keys of `state` as a sorted query puts them; of no meaning for others. */
  order: string[] = [];
  /** Called after each message that bears a cursor, unless more of its commit follows. */
  onCursor: (cursor: string) => void = () => {};
  cursor = "";
  hasRoom = true;
  /** The answer for data from a time that the stream has not reached. */
  mayReadAhead: () => Promise<boolean> = async () => true;
  closed = false;
  live = 0;
  #waiting: (() => void)[] = [];

  write(chunk: Chunk): boolean {
    if (!this.hasRoom) return false;
    for (const message of chunk.messages) this.#take(JSON.parse(message.text));
    return true;
  }

  noteUnchanged(_cursor: string): void {}

  async room(): Promise<boolean> {
    while (!this.hasRoom && !this.closed) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return !this.closed;
  }

  mayRead(): Promise<boolean> {
    return this.mayReadAhead();
  }

  async snapshotTurn(): Promise<() => void> {
    return () => {};
  }

  drain(): void {
    this.hasRoom = true;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  reset(reason: string): void {
    this.#take({ type: "reset", reason });
  }

  failed(error: unknown): void {
    this.errors.push(error);
  }

  becameLive(): void {
    this.live++;
  }

  #take(message: Message): void {
    this.messages.push(message);
    if (message.type === "reset") this.#clear();
    if (message.type === "snapshot") {
      for (const doc of message["docs"] as unknown[]) this.#put(keyOf(doc), doc, undefined);
    }
    if (message.type === "added") {
      const key = keyOf(message["doc"]);
      assert(!this.state.has(key), `added twice: ${JSON.stringify(message)}`);
      this.#put(key, message["doc"], message["before"]);
    }
    if (message.type === "changed") this.#change(message);
    if (message.type === "removed") {
      const key = JSON.stringify(message["_id"]);
      assert(this.state.delete(key), `removed, but unknown: ${JSON.stringify(message)}`);
      this.order.splice(this.order.indexOf(key), 1);
    }
    if (typeof message["cursor"] !== "string") return;
    this.cursor = message["cursor"];
    this.onCursor(this.cursor);
  }

  #change(message: Message): void {
    const key = message["doc"] === undefined ? JSON.stringify(message["_id"]) : keyOf(message["doc"]);
    const known = this.state.get(key);
    assert(known !== undefined, `changed, but unknown: ${JSON.stringify(message)}`);
    const doc = message["doc"] ?? applyDelta(known, message);
    if (message["before"] === undefined) this.state.set(key, doc);
    else {
      this.order.splice(this.order.indexOf(key), 1);
      this.#put(key, doc, message["before"]);
    }
  }

  #put(key: string, doc: unknown, before: unknown): void {
    this.state.set(key, doc);
    const next = before === undefined || before === null ? -1 : this.order.indexOf(JSON.stringify(before));
    assert(
      next >= 0 || before === undefined || before === null,
      `put before an unknown document: ${JSON.stringify(before)}`,
    );
    if (next < 0) this.order.push(key);
    else this.order.splice(next, 0, key);
  }

  #clear(): void {
    this.state.clear();
    this.order = [];
  }
}

const keyOf = (document: unknown) => JSON.stringify((document as { _id: unknown })._id);

/** Applies `set` and `unset` as a client does. */
function applyDelta(known: unknown, { set = {}, unset = [] }: Record<string, unknown>): unknown {
  const doc = structuredClone(known) as Record<string, unknown>;
  const parentOf = (path: string[]) => path.slice(0, -1).reduce((at, part) => at[part] as typeof doc, doc);
  for (const path of unset as string[]) delete parentOf(path.split("."))[path.split(".").at(-1)!];
  for (const [path, value] of Object.entries(set as object)) {
    parentOf(path.split("."))[path.split(".").at(-1)!] = value;
  }
  return doc;
}

/** The exact cursor of the head. */
export const headCursorOf = ({ timeline }: Feed): string => timeline.codec.encode(timeline.head);

/** The default parts of a delivery: a snapshot, for a user of its own. */
export const terms = (account = new Account(FeedLimits.parse({}), () => {})): DeliveryTerms => ({
  wantsSnapshot: true,
  rights: UNCONDITIONAL,
  account,
});

export async function follow(
  feed: Feed,
  spec: LiveQuerySpec,
  sink = new Recorder(),
  start = FRESH,
  rights = UNCONDITIONAL,
  account = new Account(FeedLimits.parse({}), () => {}),
) {
  const delivery: Delivery = feed.subscribe(spec, sink, { wantsSnapshot: start.snapshot, rights, account });
  const started = await delivery.open(start);
  delivery.run();
  return { delivery, started, sink };
}
