/**
 * Reads kept results as they were at an earlier cluster time, for clients that continue there without a snapshot. Such a
 * read costs as much as a snapshot, so it has the same limits, and the same failures end the subscription.
 */
import type { Logger } from "pino";
import { SparseLog } from "../metrics/sparse-log.ts";
import { foundNoServer, isMongoFailure } from "../source/mongo.ts";
import type { LiveQuery } from "./live-query.ts";
import { mongoUnavailable } from "./mongo-unavailable.ts";
import type { FeedLimits } from "./options.ts";
import type { Past } from "./past.ts";
import { pause } from "./pause.ts";
import { ATTEMPT_PAUSE_MS, hasNoPast, isTooOld, permanentFailure, READ_ATTEMPTS } from "./read-failure.ts";
import { readCharged } from "./read-window.ts";
import type { ReadingCharge } from "./reading-charge.ts";
import type { SnapshotReader } from "./snapshot-reader.ts";
import type { Turn } from "./turn.ts";

/** The terms of one read. */
interface PastTerms {
  /** The users who wait for it. */
  readonly turn: Turn;
  /** Charges the documents to one of them. */
  readonly charge: () => ReadingCharge;
}

/** The limits of all reads of results, as this file needs them. */
interface LimitedReads {
  runWanted<T>(turn: Turn, work: (signal: AbortSignal) => Promise<T>): Promise<T | null>;
  checkIndex(liveQuery: LiveQuery): Promise<void>;
}

/** The parts that `PastReads` works with. */
export interface PastReadsParts {
  readonly reader: Pick<SnapshotReader, "openAt">;
  readonly snapshots: LimitedReads;
  readonly log: Logger;
}

/** Reads the past of kept results. */
export class PastReads {
  readonly #limits: Pick<FeedLimits, "snapshotTimeMs">;
  readonly #parts: PastReadsParts;
  readonly #sparse = new SparseLog();

  constructor(limits: Pick<FeedLimits, "snapshotTimeMs">, parts: PastReadsParts) {
    this.#limits = limits;
    this.#parts = parts;
  }

  /**
   * Reads the result of a live query at a cluster time of the last minutes.
   * @returns `null` if the server has no state of that time, and a later time may succeed; or if nobody wants it any more.
   * @throws {TidewireError} `unavailable`; others if the read cannot succeed, or is refused.
   */
  async read(liveQuery: LiveQuery, at: bigint, terms: PastTerms): Promise<Past | null> {
    const { snapshots, log } = this.#parts;
    for (let attempt = 1; ; attempt++) {
      try {
        return await snapshots.runWanted(terms.turn, (signal) =>
          this.#read(liveQuery, at, terms.charge, signal),
        );
      } catch (error) {
        if (!isMongoFailure(error)) throw error;
        const permanent = permanentFailure(error, this.#limits.snapshotTimeMs);
        if (permanent !== null) throw permanent;
        if (isTooOld(error)) return null;
        this.#sparse.write(performance.now(), (more) =>
          log.warn({ err: error, attempt, ...more }, "the earlier state of a result could not be read"),
        );
        if (attempt < READ_ATTEMPTS && !foundNoServer(error)) await pause(ATTEMPT_PAUSE_MS * attempt);
        else if (hasNoPast(error)) return null;
        else throw mongoUnavailable(error);
      }
    }
  }

  async #read(
    liveQuery: LiveQuery,
    at: bigint,
    newCharge: () => ReadingCharge,
    signal: AbortSignal,
  ): Promise<Past> {
    const { reader, snapshots } = this.#parts;
    await snapshots.checkIndex(liveQuery);
    const cursor = await reader.openAt(liveQuery.snapshotQuery, at, signal);
    const charge = newCharge();
    try {
      const documents = await readCharged(liveQuery, cursor, charge);
      return { documents, release: () => charge.release() };
    } catch (error) {
      charge.release();
      throw error;
    } finally {
      cursor.close();
    }
  }
}
