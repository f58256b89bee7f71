import type { Logger } from "pino";
import { TidewireError } from "../protocol/errors.ts";
import { isMongoFailure } from "../source/mongo.ts";
import type { Change } from "./change.ts";
import type { ClientCursors } from "./client-cursors.ts";
import { type GrantDiffParts, type GrantMove, readGrantDiff } from "./grant-diff.ts";
import type { LiveQuery } from "./live-query.ts";
import type { LiveQuerySpec } from "./live-query-spec.ts";
import type { SnapshotReader } from "./snapshot-reader.ts";
import type { SnapshotStore } from "./snapshot-store.ts";

/** With more commits missed than this, a result is read again rather than sent as a difference. */
const MISSED_COMMITS_MAX = 10_000;

/** The parts that `GrantDiffs` works with. */
export interface GrantDiffsParts extends GrantDiffParts {
  readonly reader: Pick<SnapshotReader, "readAt">;
  readonly cursors: ClientCursors;
  /** Its turn is waited for: a difference burdens the database like a snapshot. */
  readonly snapshots: Pick<SnapshotStore, "runLimited" | "checkIndex">;
  /** Makes a live query that nobody can join. */
  readonly detached: (spec: LiveQuerySpec) => LiveQuery;
  readonly log: Logger;
}

/** The differences that changes of rights make, each read once for all clients that share it. */
export class GrantDiffs {
  readonly #mostDocuments: number;
  readonly #parts: GrantDiffsParts;
  /** Differences that are being read. */
  readonly #reading = new Map<string, Promise<Change[] | null>>();

  /** @param mostDocuments With more documents in a difference, the result is read again instead. */
  constructor(mostDocuments: number, parts: GrantDiffsParts) {
    this.#mostDocuments = mostDocuments;
    this.#parts = parts;
  }

  /**
   * The move from the state that a live query had at entry `seq` to another live query at the head; `null` where too
   * many commits have come since.
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
   * See `readGrantDiff`; `null` also where MongoDB does not answer: the result is read again when it does. An edit of the
   * rules concerns every client at once, so all whose rights change alike at one point share one difference.
   */
  read(move: GrantMove): Promise<Change[] | null> {
    const { from, to, at, missed } = move;
    // Of a commit that changes rights itself, its changes to documents are a part of the difference.
    const what = at.entry === null ? "edit" : "commit";
    const since = missed === undefined ? "" : `${missed.seq} ${missed.wantsDocuments}`;
    const key = `${from.spec.key} ${to.number} ${what} ${at.seq} ${at.clusterTime} ${at.published.after} ${since}`;
    const known = this.#reading.get(key);
    if (known !== undefined) return known;
    const reading = this.#read(move).finally(() => this.#reading.delete(key));
    this.#reading.set(key, reading);
    return reading;
  }

  async #read(move: GrantMove): Promise<Change[] | null> {
    const { reader, timeline, snapshots, log } = this.#parts;
    // The commit may be part of a batch that is still being handed out: its neighbours have to be known.
    while (!timeline.isSettled) await timeline.settles;
    try {
      return await snapshots.runLimited(async () => {
        await snapshots.checkIndex(move.to);
        // A window is read in its state just after the commit. There is none where another commit has the same time.
        if (move.to.spec.sort !== null && timeline.history.timeAfter(move.at.seq) === null) return null;
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
