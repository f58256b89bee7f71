/**
 * Appends ranges of the change stream to the tail, and keeps it within its bytes. Redis refuses an id that is not greater
 * than the last one, so a leader that was replaced and is behind appends nothing.
 */
import type { Metrics } from "../../metrics/metrics.ts";
import { type EntryId, encodeEntry, type TailEntry } from "./tail-entry.ts";
import type { ReadEntry, TailLog } from "./tail-log.ts";

/** A range of the change stream: all events after `from`, up to and including `to`. */
export interface TailRange {
  readonly from: bigint;
  readonly to: bigint;
  readonly events: readonly Buffer[];
  readonly resumeToken: Uint8Array | undefined;
}

/** The most events of one part, in bytes. A larger event is cut into parts of its own. */
export const PART_BYTES = 1024 * 1024;
/** Header, ids and Redis' own bookkeeping for each entry, in bytes. */
const ENTRY_BYTES = 256;
/** After a trim this share of the limit is left, so that not every entry trims. */
const TRIMMED_SHARE = 15 / 16;
/** The tail is kept for another while this often, in milliseconds. */
const KEEP_MS = 60_000;

/** The parts that the writer works with. */
export interface TailWriterParts {
  readonly log: TailLog;
  /** See `mongodb.tail.redis.bytes`. */
  readonly bytes: number;
  /** MongoDB's time in epoch milliseconds. */
  readonly serverNowMs: () => number;
  readonly metrics: Pick<Metrics, "tailEntries" | "tailAppendedBytes" | "tailBytes">;
}

/** The one process that appends writes through this. */
export class TailWriter {
  readonly #parts: TailWriterParts;
  #lastId: EntryId | null = null;
  #totalBytes = 0;
  /** `totalBytes` before the oldest entry. */
  #droppedBytes = 0;
  #keptAtMs = 0;

  private constructor(parts: TailWriterParts) {
    this.#parts = parts;
  }

  /**
   * Continues a tail, or begins one.
   * @returns The writer, and the cluster time that the tail has reached; `null` for an empty one.
   */
  static async open(parts: TailWriterParts): Promise<{ writer: TailWriter; reached: bigint | null }> {
    const writer = new TailWriter(parts);
    const last = await parts.log.last();
    if (last === null) return { writer, reached: null };
    if (last.entry === null) {
      await writer.clear();
      return { writer, reached: null };
    }
    writer.#lastId = last.id;
    writer.#totalBytes = last.entry.totalBytes;
    await writer.#readOldest();
    // The parts of an entry whose end is missing are appended again.
    return { writer, reached: last.entry.isLast ? last.entry.to : last.entry.from };
  }

  /** Removes everything, because readers cannot continue with it. */
  async clear(): Promise<void> {
    await this.#parts.log.clear();
    this.#lastId = null;
    this.#droppedBytes = this.#totalBytes;
  }

  /**
   * Appends a range that follows what was appended before.
   * @throws {StaleAppendError} Another process has appended a later entry.
   */
  async append({ from, to, events, resumeToken }: TailRange): Promise<void> {
    const parts = partsOf(events);
    const readAtMs = this.#parts.serverNowMs();
    for (const [part, content] of parts.entries()) {
      const isLast = part === parts.length - 1;
      const token = isLast ? resumeToken : undefined;
      await this.#add({ from, to, part, isLast, readAtMs, resumeToken: token, totalBytes: 0, ...content });
    }
    await this.#keep();
  }

  async #add(entry: TailEntry): Promise<void> {
    const { log, metrics, bytes } = this.#parts;
    const size = entry.events.reduce((sum, { length }) => sum + length, ENTRY_BYTES);
    const totalBytes = this.#totalBytes + size;
    const last = this.#lastId;
    const index = last?.clusterTime === entry.to ? last.index + 1n : 0n;
    const id = { clusterTime: entry.to, index };
    await log.append(id, encodeEntry({ ...entry, totalBytes }));
    this.#lastId = id;
    this.#totalBytes = totalBytes;
    metrics.tailEntries.inc();
    metrics.tailAppendedBytes.inc(size);
    if (totalBytes - this.#droppedBytes > bytes) await this.#trim();
    metrics.tailBytes.set(totalBytes - this.#droppedBytes);
  }

  /** Redis trims by numbers of entries, so the number is estimated from their mean size until enough is gone. */
  async #trim(): Promise<void> {
    const { log, bytes } = this.#parts;
    for (let kept = this.#totalBytes - this.#droppedBytes; kept > bytes; ) {
      const length = await log.length();
      const drop = Math.ceil((length * (kept - bytes * TRIMMED_SHARE)) / kept);
      await log.trimTo(Math.max(0, length - drop));
      await this.#readOldest();
      kept = this.#totalBytes - this.#droppedBytes;
    }
  }

  async #readOldest(): Promise<void> {
    const oldest: ReadEntry | null = await this.#parts.log.first();
    const entry = oldest?.entry ?? null;
    if (entry === null) this.#droppedBytes = this.#totalBytes;
    else {
      const size = entry.events.reduce((sum, { length }) => sum + length, ENTRY_BYTES);
      this.#droppedBytes = entry.totalBytes - size;
    }
  }

  async #keep(): Promise<void> {
    const nowMs = performance.now();
    if (this.#keptAtMs !== 0 && nowMs - this.#keptAtMs < KEEP_MS) return;
    await this.#parts.log.keep();
    this.#keptAtMs = nowMs;
  }
}

type Part = Pick<TailEntry, "events" | "isCut">;

/** Divides events into parts of at most `PART_BYTES`; one part without events if there are none. */
export function partsOf(events: readonly Buffer[]): Part[] {
  const parts: Part[] = [];
  let open: Buffer[] = [];
  let bytes = 0;
  const close = () => {
    if (open.length > 0) parts.push({ events: open, isCut: false });
    open = [];
    bytes = 0;
  };
  for (const event of events) {
    if (bytes + event.length > PART_BYTES) close();
    if (event.length > PART_BYTES)
      for (let at = 0; at < event.length; at += PART_BYTES)
        parts.push({ events: [event.subarray(at, at + PART_BYTES)], isCut: true });
    else {
      open.push(event);
      bytes += event.length;
    }
  }
  close();
  return parts.length > 0 ? parts : [{ events: [], isCut: false }];
}
