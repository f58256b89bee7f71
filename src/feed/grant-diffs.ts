/**
 * Shares the differences of rights changes. An edit of the rules changes the rights of every client at once; clients
 * with the same old and new query share one read of MongoDB.
 */
import type { Logger } from "pino";
import { SparseLog } from "../metrics/sparse-log.ts";
import { TidewireError } from "../protocol/errors.ts";
import { isMongoFailure } from "../source/mongo.ts";
import type { Account } from "./account.ts";
import type { Change } from "./change.ts";
import type { ClientCursors } from "./client-cursors.ts";
import { type DiffReader, type GrantDiffParts, type GrantMove, readGrantDiff } from "./grant-diff.ts";
import type { LiveQuery } from "./live-query.ts";
import type { LiveQuerySpec } from "./live-query-spec.ts";
import { Pace } from "./pace.ts";
import { bytesIn } from "./read-window.ts";
import type { ReadingCharge } from "./reading-charge.ts";
import { isOfUser, SharedCharge, type Sharer } from "./shared-charge.ts";
import type { Slices } from "./slices.ts";
import type { SnapshotReader } from "./snapshot-reader.ts";
import type { SnapshotStore } from "./snapshot-store.ts";
import { Turn } from "./turn.ts";

/** If a client has missed more commits than this, it receives the result again instead of a difference. */
const MISSED_COMMITS_MAX = 10_000;

/** No number of an entry: the position is older than the history. */
const BEFORE_HISTORY = -1;

/** A difference for one client. */
export interface HeldDiff {
  readonly changes: readonly Change[];
  /** To be called when the client has been sent all of it. */
  release(): void;
}

/** A difference that is being read, or sent. */
interface Reading {
  readonly turn: Turn;
  /** `refused` if none of those who had joined by then had room for it. */
  readonly changes: Promise<Change[] | "refused" | null>;
  /** The documents stay charged until the slowest client has them. */
  readonly charge: SharedCharge;
}

/** The parts that `GrantDiffs` works with. */
export interface GrantDiffsParts extends GrantDiffParts {
  readonly reader: Pick<SnapshotReader, "readAt">;
  readonly cursors: ClientCursors;
  /** A difference waits for a turn like a snapshot, because it costs the database the same. */
  readonly snapshots: Pick<SnapshotStore, "runWanted" | "checkIndex">;
  /** Charges the documents to one of the users for whom they are read. */
  readonly chargeReading: (account: Account) => ReadingCharge;
  /** Charges the time of a comparison, in milliseconds, to a user who may not have caused it. Nothing ends for it. */
  readonly noteRights: (account: Account, ms: number) => void;
  readonly newSlices: () => Slices;
  /** Makes a live query that no client can join. */
  readonly detached: (spec: LiveQuerySpec) => LiveQuery;
  readonly log: Logger;
}

/** The differences of rights changes, each read once for all clients that share it. */
export class GrantDiffs {
  readonly #mostDocuments: number;
  readonly #parts: GrantDiffsParts;
  /** Differences that are being read. */
  readonly #reading = new Map<string, Reading>();
  readonly #sparse = new SparseLog();

  /** @param mostDocuments If a difference contains more documents, the result is read again instead. */
  constructor(mostDocuments: number, parts: GrantDiffsParts) {
    this.#mostDocuments = mostDocuments;
    this.#parts = parts;
  }

  /**
   * The move from the state that a live query had at entry `seq` to another live query at the head.
   * @returns `null` if too many commits followed.
   */
  moveSince(held: LiveQuerySpec, to: LiveQuery, seq: number, wantsDocuments: boolean): GrantMove | null {
    const { history } = this.#parts.timeline;
    if (seq < history.evictedSeq || history.headSeq - seq > MISSED_COMMITS_MAX) return null;
    const from = this.#parts.detached(held);
    const missed = { seq, heldAt: history.timeAfter(seq), wantsDocuments };
    return { from, to, at: this.#parts.cursors.grantPoint(null), held: [], missed };
  }

  /**
   * The move of an aggregate from its rows at a cluster time, which the history may not reach, to those at the head. It
   * takes two reads, and no commits.
   */
  moveSinceTime(liveQuery: LiveQuery, heldAt: bigint, wantsDocuments: boolean): GrantMove {
    const missed = { seq: BEFORE_HISTORY, heldAt, wantsDocuments };
    return { from: liveQuery, to: liveQuery, at: this.#parts.cursors.grantPoint(null), held: [], missed };
  }

  /**
   * Reads a difference (see `readGrantDiff`).
   * @param account The user who waits for it.
   * @param isWanted Whether the user still wants it when it is its turn.
   * @returns `null` also if MongoDB does not answer, the history has evicted commits that the client has missed, or the user has
   *   no room for it. The result is then read again, as a snapshot, which needs less memory.
   */
  async read(move: GrantMove, account: Account, isWanted: () => boolean): Promise<HeldDiff | null> {
    for (;;) {
      const sharer: Sharer = { account, isRefused: false };
      const reading = this.#join(move, sharer, isWanted);
      let isReleased = false;
      const release = () => {
        if (isReleased) return;
        isReleased = true;
        reading.charge.leave(sharer);
      };
      let changes: Change[] | "refused" | null = null;
      try {
        changes = await reading.changes;
        if (Array.isArray(changes) && !sharer.isRefused) return { changes, release };
      } catch (error) {
        release();
        throw error;
      }
      release();
      // It has joined after the others were refused, and was not asked to pay.
      if (changes !== "refused" || sharer.isRefused || !isWanted()) return null;
    }
  }

  #join(move: GrantMove, sharer: Sharer, isWanted: () => boolean): Reading {
    const { account } = sharer;
    const { from, to, at, missed } = move;
    // If a commit itself changes the rights, its changes to documents are part of the difference.
    const what = at.entry === null ? "edit" : "commit";
    const since = missed === undefined ? "" : `${missed.seq} ${missed.heldAt} ${missed.wantsDocuments}`;
    const key = `${from.spec.key} ${to.number} ${what} ${at.seq} ${at.clusterTime} ${at.published.after} ${since}`;
    const known = this.#reading.get(key);
    if (known !== undefined) {
      known.turn.join(account, isWanted);
      known.charge.join(sharer);
      return known;
    }
    const turn = new Turn(account, isWanted);
    const charge = new SharedCharge(this.#parts.chargeReading(account), sharer);
    const changes = this.#read(move, turn, charge).finally(() => this.#reading.delete(key));
    const reading = { turn, changes, charge };
    this.#reading.set(key, reading);
    return reading;
  }

  async #read(move: GrantMove, turn: Turn, charge: SharedCharge): Promise<Change[] | "refused" | null> {
    const { timeline, snapshots, log } = this.#parts;
    // The commit may be part of a batch that is still being delivered, and its neighbours must be known first.
    while (!timeline.isSettled) await timeline.settles;
    try {
      return await snapshots.runWanted(turn, async (signal) => {
        const reader: DiffReader = {
          readAt: (query, at) =>
            this.#parts.reader.readAt(query, at, (documents) => charge.add(bytesIn(documents)), signal),
          keep: (bytes) => charge.add(bytes),
          newPace: () => this.#paceOf(move, charge),
        };
        await snapshots.checkIndex(move.to);
        // A result that is kept in memory is read in its state just after the commit. If another commit has the same
        // time, no such state can be read.
        if (!move.to.state.isStateless && timeline.history.timeAfter(move.at.seq) === null) return null;
        return readGrantDiff(reader, move, this.#mostDocuments, this.#parts);
      });
    } catch (error) {
      if (isOfUser(error)) return "refused";
      const code = error instanceof TidewireError ? error.code : null;
      if (code === "too-many-subscriptions") return null;
      if (!isMongoFailure(error) && code !== "unavailable") throw error;
      this.#sparse.write(performance.now(), (more) =>
        log.warn({ err: error, ...more }, "the difference of a change of rights could not be read"),
      );
      return null;
    }
  }

  /** A resumption is work of the live query, like every catch-up. Somebody else may have caused any other difference. */
  #paceOf(move: GrantMove, charge: SharedCharge): Pace {
    if (move.missed !== undefined) return move.to.newPace();
    const { newSlices, noteRights } = this.#parts;
    return new Pace(newSlices(), (ms) => {
      const { accounts } = charge;
      for (const account of accounts) noteRights(account, ms / accounts.length);
    });
  }
}
