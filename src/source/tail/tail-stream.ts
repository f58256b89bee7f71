/** The shared tail, read like a change stream. */
import { parseEvent } from "../change-event.ts";
import type { RawBatch, RawStream } from "../change-stream.ts";
import { RedisError } from "./redis-connection.ts";
import { type EntryId, idBefore, type TailEntry } from "./tail-entry.ts";
import { READ_COUNT, type ReadEntry, type TailLog } from "./tail-log.ts";

/** Why a node does not read the tail: values of a label. */
export const TAIL_LOSSES = [
  "behind",
  "gap",
  "trimmed",
  "silent",
  "slow",
  "stale-member",
  "unreadable",
  "unreachable",
  "no-answer",
  "refused",
] as const;
/** See `TAIL_LOSSES`. */
export type TailLoss = (typeof TAIL_LOSSES)[number];

/** The tail can no longer be read without a gap, or without delay. The node opens a change stream of its own. */
export class TailLostError extends Error {
  override readonly name = "TailLostError";
  readonly reason: TailLoss;

  constructor(reason: TailLoss, options?: ErrorOptions) {
    super(`the shared tail cannot be read: ${reason}`, options);
    this.reason = reason;
  }
}

/** The leader appends at least this often, in milliseconds. */
export const BEAT_MS = 500;
/** Without an entry for this long, the leader or Redis is taken for gone. In milliseconds. */
export const SILENCE_MS = 1_500;
/** A read that took longer than this has waited for a new entry, in milliseconds. */
const WAITED_MS = 5;

/** How long a node waits for a tail that it reads, in milliseconds. */
export interface TailPatience {
  /** The time in which the tail has to reach the node's position. */
  readonly joinMs: number;
  /** An entry that arrives this long after the leader read its events is too late. */
  readonly slowMs: number;
}

/** The parts that the stream works with. */
export interface TailStreamParts {
  readonly log: TailLog;
  /** MongoDB's time in epoch milliseconds. */
  readonly serverNowMs: () => number;
  /** Called with the age of each entry that was waited for, in milliseconds. */
  readonly onLag: (lagMs: number) => void;
}

/** Events of one large entry whose parts have not all arrived. */
interface Pending {
  readonly from: bigint;
  readonly to: bigint;
  readonly events: Buffer[];
  /** Slices of an event whose end has not arrived. */
  slices: Buffer[];
  nextPart: number;
}

const LIVE = { isFull: false, ended: false, isAligned: true } as const;

/** Reads entries of the tail, and checks that nothing is missing between them. */
export class TailStream implements RawStream {
  readonly #parts: TailStreamParts;
  readonly #slowMs: number;
  #lastId: EntryId;
  /** Every event up to this cluster time was returned, or is before the start. */
  #through: bigint;
  #pending: Pending | undefined;
  #first: readonly ReadEntry[];
  #isClosed = false;

  private constructor(parts: TailStreamParts, slowMs: number, from: bigint, first: readonly ReadEntry[]) {
    this.#parts = parts;
    this.#slowMs = slowMs;
    this.#lastId = idBefore(from);
    this.#through = from - 1n;
    this.#first = first;
  }

  /**
   * Begins with the events of cluster time `from`, like `startAtOperationTime`.
   * @throws {TailLostError} The tail does not contain that time.
   */
  static async open(
    from: bigint,
    { joinMs, slowMs }: TailPatience,
    parts: TailStreamParts,
  ): Promise<TailStream> {
    const first = await asLoss(() => parts.log.read(idBefore(from), joinMs));
    const [oldest] = first;
    if (oldest === undefined) throw new TailLostError("behind");
    if (oldest.entry === null) throw new TailLostError("unreadable");
    if (oldest.entry.from >= from || oldest.entry.part !== 0) throw new TailLostError("trimmed");
    return new TailStream(parts, slowMs, from, first);
  }

  /**
   * The next events, or a position without events.
   * @throws {TailLostError}
   */
  async next(): Promise<RawBatch> {
    for (;;) {
      const events: Buffer[] = [];
      let isComplete = false;
      let postBatchToken: Uint8Array | undefined;
      for (const read of await this.#read()) {
        const done = this.#take(read);
        if (done === null) continue;
        isComplete = true;
        // Not by `push(...events)`: a transaction may have more events than a call may have arguments.
        for (const event of done.events) events.push(event);
        postBatchToken = done.resumeToken;
      }
      if (isComplete) return { events, postBatchToken, ...LIVE };
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#parts.log.close();
  }

  async #read(): Promise<readonly ReadEntry[]> {
    const first = this.#first;
    this.#first = [];
    if (first.length > 0) return first;
    const askedAtMs = performance.now();
    const entries = await asLoss(() => this.#parts.log.read(this.#lastId, SILENCE_MS));
    if (this.#isClosed) throw new TailLostError("unreachable");
    const last = entries.at(-1)?.entry;
    if (last === undefined) throw new TailLostError("silent");
    // A reader that is behind for its own reasons receives old entries at once, and mostly as many as it may.
    const hasWaited = performance.now() - askedAtMs > WAITED_MS && entries.length < READ_COUNT;
    if (last !== null && hasWaited) {
      const lagMs = this.#parts.serverNowMs() - last.readAtMs;
      this.#parts.onLag(Math.max(0, lagMs));
      if (lagMs > this.#slowMs) throw new TailLostError("slow");
    }
    return entries;
  }

  /** @returns The events of an entry that is complete; `null` for one that brings nothing yet, or nothing new. */
  #take({ id, entry }: ReadEntry): Pick<TailEntry, "events" | "resumeToken"> | null {
    this.#lastId = id;
    if (entry === null) throw new TailLostError("unreadable");
    const { from, to, resumeToken } = entry;
    if (to < this.#through) return null; // a leader that was replaced has appended these events before
    if (from > this.#through) throw new TailLostError("gap");
    const events = this.#join(entry);
    if (events === null) return null;
    const known = this.#through;
    this.#through = to;
    if (from === known) return { events, resumeToken };
    return { events: events.filter((event) => parseEvent(event).clusterTime > known), resumeToken };
  }

  /** All events of an entry, once its last part has arrived. */
  #join(entry: TailEntry): readonly Buffer[] | null {
    const { from, to, part, isLast, isCut, events } = entry;
    // A new leader begins an unfinished entry again.
    if (part === 0) this.#pending = undefined;
    if (part === 0 && isLast && !isCut) return events;
    const pending = this.#pending ?? { from, to, events: [], slices: [], nextPart: 0 };
    if (pending.nextPart !== part || pending.from !== from || pending.to !== to)
      throw new TailLostError("gap");
    pending.nextPart++;
    this.#pending = pending;
    if (isCut) joinSlices(pending, events);
    else for (const event of events) pending.events.push(event);
    if (!isLast) return null;
    if (pending.slices.length > 0) throw new TailLostError("unreadable");
    this.#pending = undefined;
    return pending.events;
  }
}

/** Puts the slices of a large event together. Its first four bytes give its length. */
function joinSlices(pending: Pending, slices: readonly Buffer[]): void {
  pending.slices.push(...slices);
  const [first] = pending.slices;
  const bytes = pending.slices.reduce((sum, { length }) => sum + length, 0);
  const expected = first === undefined || first.length < 4 ? 0 : first.readInt32LE(0);
  if (bytes > expected) throw new TailLostError("unreadable");
  if (bytes < expected) return;
  pending.events.push(Buffer.concat(pending.slices));
  pending.slices = [];
}

async function asLoss<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof RedisError) throw new TailLostError(error.problem, { cause: error });
    throw error;
  }
}
