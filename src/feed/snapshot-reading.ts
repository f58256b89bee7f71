/**
 * Reads and encodes one snapshot for any number of clients. After an outage many clients ask for the same snapshot, and
 * reading it once per client would overload MongoDB at the worst moment.
 */
import { encodeDocument } from "../match/encode.ts";
import { encodeDocumentInSteps } from "../match/encode-steps.ts";
import { SMALL_BYTES } from "../match/steps.ts";
import type { ValueMode } from "../protocol/messages.ts";
import { tookTooLong } from "../source/snapshot-cursor.ts";
import type { Account } from "./account.ts";
import { Chunk, headOf } from "./chunk.ts";
import { AFTER, type Position } from "./cursor.ts";
import type { LiveQuery } from "./live-query.ts";
import { bytesIn, readWindow } from "./read-window.ts";
import type { ReadingCharge } from "./reading-charge.ts";
import type { SharedCompression } from "./shared-compression.ts";
import type { Slices } from "./slices.ts";
import type { HoldsBatches, SnapshotMemory } from "./snapshot-memory.ts";
import type { OpenSnapshot, SnapshotReader } from "./snapshot-reader.ts";
import type { Timeline } from "./timeline.ts";
import { tooLarge } from "./too-large.ts";
import { tooSlow } from "./too-slow.ts";
import { Turn } from "./turn.ts";

/** The limits of one snapshot; see the section `limits` of the configuration. */
export interface SnapshotLimits {
  readonly snapshotDocuments: number;
  readonly snapshotBatchBytes: number;
  readonly snapshotTimeMs: number;
}

/** Memory that a shared or kept reading may use before its first batches are dropped, in bytes. */
const SHARED_BYTES_MAX = 8 * 1_048_576;

/**
 * One read of a live query's result at one cluster time, encoded into batches. Any number of connections send it at
 * their own pace. The fastest one drives the read, and no connection waits for the slowest. A reading that has grown
 * large drops its first batches. A reader that still needed them has been overtaken, and reads the snapshot again.
 */
export class SnapshotReading implements HoldsBatches {
  readonly liveQuery: LiveQuery;
  readonly mode: ValueMode;
  readonly #limits: SnapshotLimits;
  /** `null` once everything was read. A kept reading must not keep the cursor and its session. */
  #cursor: OpenSnapshot | null;
  /** The cluster time at which the result is exact. */
  readonly clusterTime: bigint;
  /** The cursor in all batches. */
  readonly cursor: string;
  readonly #runLimited: SnapshotParts["runLimited"];
  #batches: Chunk[] = [];
  #dropped = 0;
  #heldBytes = 0;
  /** The batches whose compressed form is counted. Created for the first one. */
  #compressed: WeakSet<Chunk> | null = null;
  #rest: string[] = [];
  #restBytes = 0;
  /**
   * Documents that are not encoded yet, in reverse order, because removing the last element of an array is cheap and
   * removing the first is not.
   */
  #raw: Uint8Array[] = [];
  /**
   * The charge for the documents of a result that is kept as a whole, such as a sorted one; `null` if documents are read while they
   * are sent, and once it was released.
   */
  #charge: ReadingCharge | null;
  readonly #memory: SnapshotMemory;
  readonly #newSlices: () => Slices;
  readonly #onLeft: (reading: SnapshotReading) => void;
  #documents = 0;
  #complete = false;
  #failed = false;
  /** The read of the next batch, and the users who wait for it. */
  #advancing: { readonly turn: Turn; readonly done: Promise<void> } | undefined;
  #readers = 0;

  private constructor(
    liveQuery: LiveQuery,
    mode: ValueMode,
    from: { cursor: OpenSnapshot; clusterTime: bigint; raw: Uint8Array[]; charge: ReadingCharge | null },
    parts: SnapshotParts,
  ) {
    this.liveQuery = liveQuery;
    this.mode = mode;
    this.clusterTime = from.clusterTime;
    this.#cursor = from.cursor;
    this.#raw = from.raw.toReversed();
    this.#charge = from.charge;
    this.#limits = parts.limits;
    this.cursor = parts.cursorOf(from.clusterTime);
    this.#runLimited = parts.runLimited;
    this.#memory = parts.memory;
    this.#newSlices = parts.newSlices;
    this.#onLeft = parts.onLeft;
  }

  /**
   * Opens the read and determines its cluster time. To be called in a turn.
   * @param after The read is of this cluster time or later.
   * @throws {TidewireError} `snapshot-too-large`; otherwise the server's own errors.
   */
  static async open(
    liveQuery: LiveQuery,
    mode: ValueMode,
    after: bigint,
    parts: SnapshotParts,
  ): Promise<SnapshotReading> {
    // A result that is not of one cluster time needs all commits since before its read (`makeExact`).
    const release = parts.timeline.history.hold();
    try {
      return await SnapshotReading.#open(liveQuery, mode, after, parts);
    } finally {
      release();
    }
  }

  static async #open(
    liveQuery: LiveQuery,
    mode: ValueMode,
    after: bigint,
    parts: SnapshotParts,
  ): Promise<SnapshotReading> {
    const most = parts.limits.snapshotDocuments;
    const cursor = await parts.reader.open(liveQuery.snapshotQuery, after, parts.signal);
    try {
      if (!liveQuery.state.isStateless) {
        const { documents, charge } = await readWindow(liveQuery, cursor, parts);
        const from = { cursor, clusterTime: cursor.clusterTime, raw: documents, charge };
        return new SnapshotReading(liveQuery, mode, from, parts);
      }
      const raw = await cursor.next();
      // A result that does not end with the first batch is counted before it is read, so that one over the limit
      // costs little.
      const count = cursor.exhausted ? raw.length : await cursor.count(most + 1);
      if (count > most) throw tooLarge(most);
      const { clusterTime } = cursor;
      const from = { cursor, clusterTime, raw, charge: null };
      if (cursor.exact) return new SnapshotReading(liveQuery, mode, from, parts);
      const exact = await readInexact(liveQuery, cursor, raw, parts);
      return new SnapshotReading(liveQuery, mode, { ...from, ...exact }, parts);
    } catch (error) {
      cursor.close();
      throw error;
    }
  }

  /** The position whose state the whole snapshot has. */
  get position(): Position {
    return { clusterTime: this.clusterTime, within: AFTER };
  }

  get heldBytes(): number {
    return this.#heldBytes + this.#raw.reduce((sum, document) => sum + document.length, 0);
  }

  /** Whether the whole result was read and no batch was dropped. */
  get isWhole(): boolean {
    return this.#complete && this.#dropped === 0;
  }

  /** Whether a new reader can still send it from the beginning. */
  get isJoinable(): boolean {
    return this.#dropped === 0 && !this.#failed;
  }

  join(): void {
    this.#readers++;
  }

  /** The last reader to leave an unfinished reading ends it. */
  leave(): void {
    this.#readers--;
    if (this.#readers > 0) return;
    this.#onLeft(this);
    if (this.#complete) return;
    this.#fail();
    this.#cursor?.close();
  }

  #fail(): void {
    this.#failed = true;
    this.#raw = [];
    this.#release();
  }

  #release(): void {
    this.#charge?.release();
    this.#charge = null;
  }

  get readers(): number {
    return this.#readers;
  }

  /**
   * Batch number `index`, starting at 0.
   * @param account The user who waits for it. The wait is that of whichever reader is served first.
   * @returns `null` after the last one; `overtaken` if the batch was dropped.
   */
  async batch(index: number, account: Account): Promise<Chunk | null | "overtaken"> {
    for (;;) {
      if (index < this.#dropped) return "overtaken";
      const chunk = this.#batches[index - this.#dropped];
      if (chunk !== undefined) return chunk;
      if (this.#complete) return null;
      if (this.#advancing === undefined) this.#startToAdvance(new Turn(account));
      else this.#advancing.turn.join(account);
      await this.#advancing?.done;
    }
  }

  #startToAdvance(turn: Turn): void {
    const done = this.#advance(turn)
      .catch((error: unknown) => {
        this.#fail();
        // Reading it again would take as long again, so the subscription ends.
        if (tookTooLong(error)) throw tooSlow("the snapshot", this.#limits.snapshotTimeMs, error);
        throw error;
      })
      .finally(() => {
        this.#advancing = undefined;
      });
    this.#advancing = { turn, done };
  }

  /** Compresses a batch, once for all who read it. The compressed form is kept as long as the batch. */
  async compress(batch: Chunk, compression: SharedCompression): Promise<void> {
    await compression.prepare(batch);
    if (this.#compressed?.has(batch) || !this.#batches.includes(batch)) return;
    this.#compressed ??= new WeakSet();
    this.#compressed.add(batch);
    this.#heldBytes += batch.deflated?.bytes ?? 0;
    if (this.#readers > 0) this.#memory.note(this);
  }

  /** Completes one batch or the whole result. Encodes no more at a time than one batch contains. */
  async #advance(turn: Turn): Promise<void> {
    for (;;) {
      for (let raw = this.#raw.pop(); raw !== undefined; raw = this.#raw.pop()) {
        const text =
          raw.length > SMALL_BYTES
            ? await this.#encodeInSteps(raw)
            : encodeDocument(raw, this.liveQuery.spec.projection, this.mode);
        const bytes = Buffer.byteLength(text);
        const isFull = this.#rest.length > 0 && this.#restBytes + bytes > this.#limits.snapshotBatchBytes;
        if (isFull) this.#close(false);
        this.#keep(text, bytes);
        this.#charge?.sub(raw.length);
        if (!isFull) continue;
        // A sorted result is in memory as a whole. Without a pause all its batches would be encoded in one turn.
        if (this.#raw.length > 0) await new Promise((resolve) => setImmediate(resolve));
        return;
      }
      const cursor = this.#cursor;
      if (cursor === null || cursor.exhausted) {
        this.#complete = true;
        this.#cursor = null;
        this.#release();
        this.#close(true);
        return;
      }
      const batch = await this.#runLimited(turn, async () => {
        if (this.#failed) throw leftAlone();
        return cursor.next();
      });
      this.#raw = batch.toReversed();
    }
  }

  async #encodeInSteps(raw: Uint8Array): Promise<string> {
    const slices = this.#newSlices();
    slices.begin();
    const text = await slices.through(encodeDocumentInSteps(raw, this.liveQuery.spec.projection, this.mode));
    if (this.#failed) throw leftAlone();
    return text;
  }

  #keep(text: string, bytes: number): void {
    this.#documents++;
    const isBounded = this.liveQuery.spec.aggregate === null;
    if (isBounded && this.#documents > this.#limits.snapshotDocuments)
      throw tooLarge(this.#limits.snapshotDocuments);
    this.#rest.push(text);
    this.#restBytes += bytes;
  }

  #close(last: boolean): void {
    const docs = this.#rest.join(",");
    const { cursor } = this;
    const text = `${headOf("snapshot")}"docs":[${docs}],"cursor":"${cursor}","last":${last}}`;
    this.#rest = [];
    this.#restBytes = 0;
    const batch = new Chunk([{ type: "snapshot", text, cursor, partial: !last }]);
    this.#batches.push(batch);
    this.#heldBytes += batch.size;
    this.#dropDownTo(SHARED_BYTES_MAX);
    // A reading without readers is not tracked any more, and may still complete a batch.
    if (this.#readers > 0) this.#memory.note(this);
  }

  get batchBytes(): number {
    return this.#heldBytes;
  }

  shed(): void {
    this.#dropDownTo(0);
    this.#memory.note(this);
  }

  #dropDownTo(bytes: number): void {
    while (this.#heldBytes > bytes && this.#batches.length > 1) {
      const batch = this.#batches.shift();
      if (batch !== undefined) this.#heldBytes -= this.#sizeOf(batch);
      this.#dropped++;
    }
  }

  #sizeOf(batch: Chunk): number {
    return batch.size + (this.#compressed?.has(batch) ? (batch.deflated?.bytes ?? 0) : 0);
  }
}

const leftAlone = () => new Error("the last reader of the snapshot has left");

/** Reads a result that changes while it is read as a whole, and charges it like a sorted one. */
async function readInexact(
  liveQuery: LiveQuery,
  cursor: OpenSnapshot,
  raw: Uint8Array[],
  parts: SnapshotParts,
): Promise<{ raw: Uint8Array[]; clusterTime: bigint; charge: ReadingCharge }> {
  const charge = parts.charge();
  try {
    charge.add(bytesIn(raw));
    for (let batch = await cursor.next(); batch.length > 0; batch = await cursor.next()) {
      charge.add(bytesIn(batch));
      // Not by `push(...batch)`: 16 MiB of small documents are more than a call may have arguments.
      for (const document of batch) raw.push(document);
    }
    return { ...(await parts.makeExact(liveQuery, raw, cursor.clusterTime)), charge };
  } catch (error) {
    charge.release();
    throw error;
  }
}

/** The parts that a snapshot reading works with. */
export interface SnapshotParts {
  /** Bounds the batches of all snapshots together. */
  readonly memory: SnapshotMemory;
  /** Makes slices for the encoding of large documents. */
  readonly newSlices: () => Slices;
  /** Called when the last reader has left. */
  readonly onLeft: (reading: SnapshotReading) => void;
  readonly reader: Pick<SnapshotReader, "open">;
  readonly limits: SnapshotLimits;
  /** The cursor for a result as of a cluster time. */
  readonly cursorOf: (clusterTime: bigint) => string;
  /** Charges a result that is kept as a whole, such as a sorted one, to the user for whom it is read. */
  readonly charge: () => ReadingCharge;
  /** Aborted when nobody wants the snapshot any more, while it is being opened. */
  readonly signal: AbortSignal;
  /** The timeline. A window is loaded between two batches of commits. */
  readonly timeline: Timeline;
  /** Runs a read when it is its turn. The number of concurrent reads is limited to protect the database. */
  readonly runLimited: <T>(turn: Turn, work: () => Promise<T>) => Promise<T>;
  /** Brings a result that changed while it was read, from `since` on, to its state at one later cluster time. */
  readonly makeExact: (
    liveQuery: LiveQuery,
    raw: Uint8Array[],
    since: bigint,
  ) => Promise<{ raw: Uint8Array[]; clusterTime: bigint }>;
}
