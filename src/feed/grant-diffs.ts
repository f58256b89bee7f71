/**
 * Shares the differences of rights changes. An edit of the rules changes the rights of every client at once; clients
 * with the same old and new query share one read of MongoDB.
 */
import type { Logger } from "pino";
import { TidewireError } from "../protocol/errors.ts";
import { isMongoFailure } from "../source/mongo.ts";
import type { Account } from "./account.ts";
import type { Change } from "./change.ts";
import type { ClientCursors } from "./client-cursors.ts";
import { type GrantDiffParts, type GrantMove, readGrantDiff } from "./grant-diff.ts";
import type { LiveQuery } from "./live-query.ts";
import type { LiveQuerySpec } from "./live-query-spec.ts";
import type { SnapshotReader } from "./snapshot-reader.ts";
import type { SnapshotStore } from "./snapshot-store.ts";
import { Turn } from "./turn.ts";

/** If a client has missed more commits than this, it receives the result again instead of a difference. */
const MISSED_COMMITS_MAX = 10_000;

/** No number of an entry: the position is older than the history. */
const BEFORE_HISTORY = -1;

/** The parts that `GrantDiffs` works with. */
export interface GrantDiffsParts extends GrantDiffParts {
  readonly reader: Pick<SnapshotReader, "readAt">;
  readonly cursors: ClientCursors;
  /** A difference waits for a turn like a snapshot, because it costs the database the same. */
  readonly snapshots: Pick<SnapshotStore, "runShared" | "checkIndex">;
  /** Makes a live query that no client can join. */
  readonly detached: (spec: LiveQuerySpec) => LiveQuery;
  readonly log: Logger;
}

/** The differences of rights changes, each read once for all clients that share it. */
export class GrantDiffs {
  readonly #mostDocuments: number;
  readonly #parts: GrantDiffsParts;
  /** Differences that are being read. */
  readonly #reading = new Map<string, { readonly turn: Turn; readonly changes: Promise<Change[] | null> }>();

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
    const entries = history.entriesAfter(seq);
    if (entries === null || entries.length > MISSED_COMMITS_MAX) return null;
    const events = entries.flatMap(({ commit }) => commit.events);
    const from = this.#parts.detached(held);
    const missed = { seq, events, heldAt: history.timeAfter(seq), wantsDocuments };
    return { from, to, at: this.#parts.cursors.grantPoint(null), held: [], missed };
  }

  /**
   * The move of an aggregate from its rows at a cluster time, which the history may not reach, to those at the head. It
   * takes two reads, and no commits.
   */
  moveSinceTime(liveQuery: LiveQuery, heldAt: bigint, wantsDocuments: boolean): GrantMove {
    const missed = { seq: BEFORE_HISTORY, events: [], heldAt, wantsDocuments };
    return { from: liveQuery, to: liveQuery, at: this.#parts.cursors.grantPoint(null), held: [], missed };
  }

  /**
   * Reads a difference (see `readGrantDiff`).
   * @param account The user who waits for it.
   * @param isWanted Whether the user still wants it when it is its turn.
   * @returns `null` also if MongoDB does not answer. The result is then read again later.
   */
  read(move: GrantMove, account: Account, isWanted: () => boolean): Promise<Change[] | null> {
    const { from, to, at, missed } = move;
    // If a commit itself changes the rights, its changes to documents are part of the difference.
    const what = at.entry === null ? "edit" : "commit";
    const since = missed === undefined ? "" : `${missed.seq} ${missed.heldAt} ${missed.wantsDocuments}`;
    const key = `${from.spec.key} ${to.number} ${what} ${at.seq} ${at.clusterTime} ${at.published.after} ${since}`;
    const known = this.#reading.get(key);
    if (known !== undefined) {
      known.turn.join(account, isWanted);
      return known.changes;
    }
    const turn = new Turn(account, isWanted);
    const changes = this.#read(move, turn).finally(() => this.#reading.delete(key));
    this.#reading.set(key, { turn, changes });
    return changes;
  }

  async #read(move: GrantMove, turn: Turn): Promise<Change[] | null> {
    const { reader, timeline, snapshots, log } = this.#parts;
    // The commit may be part of a batch that is still being delivered, and its neighbours must be known first.
    while (!timeline.isSettled) await timeline.settles;
    try {
      return await snapshots.runShared(turn, async () => {
        if (!turn.isWanted) return null;
        await snapshots.checkIndex(move.to);
        // A result that is kept in memory is read in its state just after the commit. If another commit has the same
        // time, no such state can be read.
        if (!move.to.state.isStateless && timeline.history.timeAfter(move.at.seq) === null) return null;
        return readGrantDiff(reader, move, this.#mostDocuments, this.#parts);
      });
    } catch (error) {
      const isPassing = error instanceof TidewireError && error.code === "unavailable";
      if (!isMongoFailure(error) && !isPassing) throw error;
      log.warn({ err: error }, "the difference of a change of rights could not be read");
      return null;
    }
  }
}
