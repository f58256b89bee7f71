/**
 * Shares snapshots between subscribers. A finished snapshot together with the changes since serves further subscribers
 * without a read, which makes a mass reconnect cheap for MongoDB.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import { SparseLog } from "../metrics/sparse-log.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { ValueMode } from "../protocol/messages.ts";
import { foundNoServer, isMongoFailure } from "../source/mongo.ts";
import type { Account } from "./account.ts";
import { UNKNOWN } from "./change.ts";
import type { ClientCursors } from "./client-cursors.ts";
import { type ExactReadingParts, makeExact } from "./exact-reading.ts";
import { IndexCheck } from "./index-check.ts";
import { Limiter } from "./limiter.ts";
import type { LiveQuery } from "./live-query.ts";
import { mongoUnavailable } from "./mongo-unavailable.ts";
import type { FeedLimits } from "./options.ts";
import { ATTEMPT_PAUSE_MS, permanentFailure, READ_ATTEMPTS } from "./read-failure.ts";
import type { ReadingCharge } from "./reading-charge.ts";
import { SnapshotMemory } from "./snapshot-memory.ts";
import type { SnapshotReader } from "./snapshot-reader.ts";
import { type SnapshotParts, SnapshotReading } from "./snapshot-reading.ts";
import { Turn } from "./turn.ts";

/** A finished reading serves new readers until this many changes have followed. After that a new read is cheaper. */
const CHANGES_SINCE_MAX = 1_000;
/** The parts that `SnapshotStore` works with. */
export interface SnapshotStoreParts extends ExactReadingParts {
  readonly reader: Pick<SnapshotReader, "open" | "plan">;
  readonly cursors: ClientCursors;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** A request for a snapshot. */
export interface SnapshotRequest {
  /** The user who waits for the read, among others (see `limits.snapshotsPerUser`). */
  readonly account: Account;
  /** Whether the snapshot is still wanted when it is its turn. */
  readonly isWanted: () => boolean;
  /** Charges a sorted result to the user for whom it is read. */
  readonly charge: () => ReadingCharge;
}

/** A snapshot that is being opened, and the users who wait for it. */
interface Opening {
  readonly turn: Turn;
  /** `null` if nobody wanted it any more when it was its turn. */
  readonly reading: Promise<SnapshotReading | null>;
}

/** A read in progress, and the users who wait for it. */
interface Running {
  readonly turn: Turn;
  readonly abort: AbortController;
}

/**
 * The snapshots that are being read, and those read recently. Equal ones are read once for all subscribers. Together
 * they use at most `limits.snapshotCacheBytes` in addition to those being sent.
 */
export class SnapshotStore {
  readonly #limits: FeedLimits;
  readonly #parts: SnapshotStoreParts;
  readonly #indexes: IndexCheck;
  readonly #reads: Limiter;
  readonly #memory: SnapshotMemory;
  /** One for all readings, because each is kept for a while. */
  readonly #readingParts: Omit<SnapshotParts, "charge" | "signal">;
  readonly #opening = new Map<string, Opening>();
  readonly #running = new Set<Running>();
  readonly #sparse = new SparseLog();
  /** In the order of reading, the newest last. */
  readonly #readings = new Map<string, { reading: SnapshotReading; untilMs: number }>();

  constructor(limits: FeedLimits, parts: SnapshotStoreParts) {
    this.#limits = limits;
    this.#indexes = new IndexCheck(parts.reader, parts.metrics);
    this.#parts = parts;
    const { snapshotConcurrency: most, snapshotsPerUser } = limits;
    // One slot is left to others, also where an operator has lowered `snapshotConcurrency` alone.
    const mostPerUser = Math.min(snapshotsPerUser, Math.max(1, most - 1));
    const slots = { most, limit: "snapshotConcurrency", mostPerUser, limitPerUser: "snapshotsPerUser" };
    this.#reads = new Limiter(slots, parts.metrics.limitWaiting);
    this.#memory = new SnapshotMemory(limits.snapshotBytes, () => parts.metrics.snapshotsShed.inc());
    const { reader, newSlices, cursors, timeline } = parts;
    this.#readingParts = {
      memory: this.#memory,
      newSlices,
      onLeft: (reading) => this.#left(reading),
      reader,
      limits,
      cursorOf: (clusterTime) => cursors.ofReading(clusterTime),
      timeline,
      runLimited: (turn, work) => this.runShared(turn, work),
      makeExact: (query, raw, from) => makeExact(query, raw, from, parts),
    };
  }

  /**
   * Obtains a reading that can be sent from its first batch. Call `leave` on it when done.
   * @param since The reading is of this cluster time or later, because the reader may see the changes after it.
   * @returns `null` if it was no longer wanted when it was its turn.
   * @throws {TidewireError} `unavailable`, `snapshot-too-large`
   */
  async open(
    liveQuery: LiveQuery,
    mode: ValueMode,
    since: bigint,
    request: SnapshotRequest,
  ): Promise<SnapshotReading | null> {
    const { account, isWanted } = request;
    const key = keyOf(liveQuery, mode);
    const kept = this.#readings.get(key)?.reading;
    if (kept?.isJoinable === true && kept.clusterTime >= since && this.#isFresh(kept)) {
      return this.#join(kept, "shared");
    }
    for (let opening = this.#opening.get(key); opening !== undefined; opening = this.#opening.get(key)) {
      opening.turn.join(account, isWanted);
      const reading = await opening.reading.catch((error: unknown) => {
        // The exceeded budget of another user is no reason to refuse this one.
        if (error instanceof TidewireError && error.code === "too-many-subscriptions") return null;
        throw error;
      });
      if (reading?.isJoinable === true && reading.clusterTime >= since) return this.#join(reading, "shared");
    }
    const turn = new Turn(account, isWanted);
    const started = this.#read(liveQuery, mode, since, { turn, charge: request.charge }).finally(() => {
      if (this.#opening.get(key)?.reading === started) this.#opening.delete(key);
    });
    this.#opening.set(key, { turn, reading: started });
    const reading = await started;
    if (reading === null) return null;
    this.#forget(key);
    this.#readings.set(key, { reading, untilMs: Date.now() + this.#limits.lingerMs });
    return this.#join(reading, "read");
  }

  /**
   * Runs a read when it is its turn, which further users may join while it waits. The number of concurrent reads is
   * limited to protect the database.
   */
  async runShared<T>(turn: Turn, work: () => Promise<T>): Promise<T> {
    const { snapshotReads } = this.#parts.metrics;
    try {
      return await this.#reads.run(() => {
        snapshotReads.set(this.#reads.held);
        return work();
      }, turn);
    } finally {
      // Several reads may end in one turn, so the slot of this one must be free when the rest are counted.
      snapshotReads.set(this.#reads.held);
    }
  }

  /**
   * Like `runShared`, for a read that ends when nobody wants it any more. The check is made by `sweep`: to abort a read closes
   * a connection to MongoDB, so clients that come and go at once must not cause it.
   * @returns `null` if nobody wanted the read when it was its turn, or while it was made.
   */
  runWanted<T>(turn: Turn, work: (signal: AbortSignal) => Promise<T>): Promise<T | null> {
    return this.runShared(turn, async () => {
      // The subscribers may have left while the read waited.
      if (!turn.isWanted) return null;
      const running = { turn, abort: new AbortController() };
      this.#running.add(running);
      try {
        return await work(running.abort.signal);
      } catch (error) {
        if (running.abort.signal.aborted) return null;
        throw error;
      } finally {
        this.#running.delete(running);
      }
    });
  }

  /**
   * Checks that an index serves the snapshot of a live query, if its rule requires one.
   * @throws {TidewireError} `forbidden` if no index does.
   */
  checkIndex(liveQuery: LiveQuery): Promise<void> {
    return this.#indexes.check(liveQuery);
  }

  /** Logs that a snapshot that was being sent could not be read to its end. */
  noteBroken(error: unknown): void {
    this.#sparse.write(performance.now(), (more) =>
      this.#parts.log.warn(
        { err: error, ...more },
        "a snapshot could not be read to its end; it is read again",
      ),
    );
  }

  /** Drops the kept readings. Readings that are being sent continue. */
  clear(): void {
    for (const key of [...this.#readings.keys()]) this.#forget(key);
    this.#opening.clear();
  }

  drop(liveQuery: LiveQuery): void {
    for (const [key, { reading }] of this.#readings) {
      if (reading.liveQuery === liveQuery) this.#forget(key);
    }
  }

  /** Aborts the reads that nobody wants any more, and drops the kept readings that are old or too large together. */
  sweep(): void {
    for (const { turn, abort } of this.#running)
      if (!turn.isWanted) abort.abort(new Error("nobody waits for the read any more"));
    const now = Date.now();
    let bytes = 0;
    for (const { reading } of this.#readings.values()) bytes += reading.heldBytes;
    for (const [key, { reading, untilMs }] of this.#readings) {
      if (reading.readers > 0) continue;
      if (untilMs > now && reading.isWhole && bytes <= this.#limits.snapshotCacheBytes) continue;
      this.#forget(key);
      bytes -= reading.heldBytes;
    }
    this.#parts.metrics.snapshotCacheBytes.set(bytes);
  }

  /** Removes a reading from the store, so that nobody can join it. Its readers continue. */
  #forget(key: string): void {
    const kept = this.#readings.get(key);
    this.#readings.delete(key);
    if (kept?.reading.readers === 0) this.#memory.forget(kept.reading);
  }

  /** The last reader of a reading has left. */
  #left(reading: SnapshotReading): void {
    if (this.#readings.get(keyOf(reading.liveQuery, reading.mode))?.reading !== reading) {
      this.#memory.forget(reading);
    }
  }

  #join(reading: SnapshotReading, served: "shared" | "read"): SnapshotReading {
    reading.join();
    this.#parts.metrics.snapshots.inc({ collection: reading.liveQuery.namespace, served });
    return reading;
  }

  /** Whether the later changes can follow this reading, and are few enough. */
  #isFresh(reading: SnapshotReading): boolean {
    const seq = this.#parts.timeline.history.seqAt(reading.clusterTime);
    const since = seq === null ? undefined : reading.liveQuery.after(seq);
    if (since === undefined || since.length > CHANGES_SINCE_MAX) return false;
    return since.every((entry) => entry.changes !== UNKNOWN);
  }

  async #read(
    liveQuery: LiveQuery,
    mode: ValueMode,
    since: bigint,
    { turn, charge }: { turn: Turn; charge: () => ReadingCharge },
  ): Promise<SnapshotReading | null> {
    const { timeline, metrics } = this.#parts;
    const end = metrics.snapshotTime.startTimer();
    const parts = { ...this.#readingParts, charge };
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.runWanted(turn, async (signal) => {
          await this.checkIndex(liveQuery);
          // Not before the head, so that the snapshot is never behind the stream.
          const { headTime } = timeline;
          const after = headTime > since ? headTime : since;
          return SnapshotReading.open(liveQuery, mode, after, { ...parts, signal });
        });
      } catch (error) {
        if (!isMongoFailure(error)) throw error;
        const permanent = permanentFailure(error, this.#limits.snapshotTimeMs);
        if (permanent !== null) throw permanent;
        this.#sparse.write(performance.now(), (more) =>
          this.#parts.log.warn({ err: error, attempt, ...more }, "a snapshot could not be read"),
        );
        // If no server was found, the driver has waited for one already, so clients receive the error at once.
        if (attempt < READ_ATTEMPTS && !foundNoServer(error)) {
          await sleep(ATTEMPT_PAUSE_MS * attempt);
          continue;
        }
        throw mongoUnavailable(error);
      } finally {
        end();
      }
    }
  }
}

const keyOf = (liveQuery: LiveQuery, mode: ValueMode) => `${liveQuery.number} ${mode}`;
