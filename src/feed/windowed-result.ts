/**
 * Keeps a window equal to the server's own answer. Most commits need only their images. When an untouched document
 * becomes visible, its content is read at the cluster time of the commit, so that the result is exact even if later
 * writes have changed it.
 */
import { runThrough, type Steps } from "../match/steps.ts";
import { valueKey } from "../match/value-key.ts";
import { arrayOf, bytesOf, documentOf } from "../match/write-bson.ts";
import type { SortSpec } from "../protocol/messages.ts";
import type { SnapshotQuery } from "../source/snapshot-cursor.ts";
import { type Change, idOf, UNKNOWN } from "./change.ts";
import type { Evaluation } from "./evaluation.ts";
import type { HistoryEntry } from "./history.ts";
import type { Found, KeptResult, LackingRead, ResultKind } from "./kept-result.ts";
import { type Pacer, paced } from "./pace.ts";
import type { WindowMember } from "./result-state.ts";
import { tooManySorted } from "./too-large.ts";
import { spareFor, Window } from "./window.ts";
import type { Touched } from "./window-changes.ts";
import { WindowEntries } from "./window-entries.ts";

/** The sort and limits of a sorted live query. */
export interface WindowSpec {
  readonly sort: SortSpec;
  readonly limit: number | null;
  /** How many documents a sorted result without a limit may have. */
  readonly sizeMax: number;
}

/** The parts of one live query that its windows work with. */
export interface WindowParts {
  readonly readLacking: <T>(read: LackingRead<T>) => Promise<T>;
  readonly query: SnapshotQuery;
  readonly spec: WindowSpec;
  readonly evaluation: Evaluation;
  readonly entries: WindowEntries;
  /** Divides the work on documents that were read. */
  readonly pacer: Pacer;
}

/**
 * A window that follows the order of commits. At each commit it is exactly the server's own `find().sort().limit()` at
 * that cluster time. The images and the known keys decide the effect of most commits. Sometimes the database must
 * supply documents that became visible, as of the cluster time of the commit.
 */
export class WindowedResult implements KeptResult {
  readonly #window: Window;
  readonly #parts: WindowParts;
  /** The cluster time of the state, or of the last commit applied. */
  #loadedAt: bigint;

  private constructor(parts: WindowParts, loadedAt: bigint) {
    this.#parts = parts;
    this.#window = new Window(parts.entries, parts.spec.limit);
    this.#loadedAt = loadedAt;
  }

  /** The query that loads a window, with some documents beyond the limit. */
  static loadQuery(
    query: SnapshotQuery,
    { sort, limit, sizeMax }: WindowSpec,
  ): SnapshotQuery & { limit: number } {
    const most = limit === null ? sizeMax + 1 : limit + spareFor(limit);
    return { ...query, sort: sortDocument(sort), limit: most };
  }

  /** Takes the answer of the load query at a cluster time. @throws {TidewireError} `snapshot-too-large` */
  static loaded(parts: WindowParts, documents: readonly Uint8Array[], clusterTime: bigint): WindowedResult {
    const { limit, sizeMax } = parts.spec;
    if (limit === null && documents.length > sizeMax) throw tooManySorted(sizeMax);
    const windowed = new WindowedResult(parts, clusterTime);
    windowed.#load(documents);
    windowed.#window.settle();
    return windowed;
  }

  get loadedAt(): bigint {
    return this.#loadedAt;
  }

  get size(): number {
    return this.#window.size;
  }

  /** The visible documents, in order. */
  get visible(): readonly WindowMember[] {
    return this.#window.visible;
  }

  get heldBytes(): number {
    return this.#window.heldBytes + this.#window.size * WINDOW_ENTRY_BYTES;
  }

  /**
   * The changes of the next commit.
   * @returns A promise if the database must be asked; the next commit must wait for it. `UNKNOWN` if an image is
   *   missing, or if a result without a limit has grown too large.
   */
  apply(entry: HistoryEntry): Found {
    if (entry.commit.clusterTime <= this.#loadedAt) return [];
    return runThrough(this.applyTouched(entry, this.#parts.evaluation.touchedBy(entry.commit.events)));
  }

  /** Computes the effect of a commit on the documents of the unlimited result, for `applyTouched`, in steps. */
  *touchedInSteps({ commit }: HistoryEntry): Steps<Touched | typeof UNKNOWN> {
    if (commit.clusterTime <= this.#loadedAt) return NOTHING_TOUCHED;
    const { evaluation, entries } = this.#parts;
    const touched = yield* evaluation.touchedInSteps(commit.events);
    if (touched !== UNKNOWN) yield* entries.prepareTouched(touched);
    return touched;
  }

  /** Like `apply`, in steps, for a commit whose effect on the documents of the unlimited result is known. */
  *applyTouched(entry: HistoryEntry, touched: Touched | typeof UNKNOWN): Steps<Found> {
    const { clusterTime } = entry.commit;
    const { spec } = this.#parts;
    if (touched === UNKNOWN) return UNKNOWN;
    if (touched.size === 0) return [];
    yield* this.#window.applyInSteps(touched);
    const lacking = this.#window.lacking();
    if (lacking !== null) return this.#readLacking(lacking, clusterTime);
    if (spec.limit === null && this.#window.size > spec.sizeMax) return UNKNOWN;
    return yield* this.#window.changes(new Map());
  }

  #readLacking(lacking: NonNullable<ReturnType<Window["lacking"]>>, clusterTime: bigint): Promise<Change[]> {
    const { readLacking, pacer, query, spec } = this.#parts;
    if (lacking === "refill")
      return readLacking({
        query: WindowedResult.loadQuery(query, spec),
        clusterTime,
        use: (documents) => paced(pacer, this.#refill(documents)),
      });
    const { database, collection, maxTimeMs } = query;
    const filter = bytesOf(documentOf([["_id", documentOf([["$in", arrayOf(lacking.ids)]])]]));
    return readLacking({
      query: { database, collection, maxTimeMs, filter },
      clusterTime,
      use: (documents) => {
        const read = new Map(documents.map((document) => [valueKey(idOf(document)), document]));
        return paced(pacer, this.#window.changes(read));
      },
    });
  }

  *#refill(documents: readonly Uint8Array[]): Steps<Change[]> {
    yield* this.#parts.entries.prepareInSteps(documents);
    this.#load(documents);
    return yield* this.#window.changes(new Map());
  }

  #load(documents: readonly Uint8Array[]): void {
    const { limit } = WindowedResult.loadQuery(this.#parts.query, this.#parts.spec);
    this.#window.load(documents, documents.length < limit);
  }
}

/** Memory that a window takes for a document besides its key, in bytes; measured, and rounded up. */
const WINDOW_ENTRY_BYTES = 600;

/** Makes the windows of one live query. */
export function windowKind(parts: Omit<WindowParts, "entries">): ResultKind {
  const entries = new WindowEntries(parts.spec.sort);
  const own = { ...parts, entries };
  return {
    prepareInSteps: (documents) => entries.prepareInSteps(documents),
    load: (documents, clusterTime) => WindowedResult.loaded(own, documents, clusterTime),
  };
}

const NOTHING_TOUCHED: Touched = new Map();

/** The sort of the request, made unique by the `_id`. */
function sortDocument(sort: SortSpec): Map<string, 1 | -1> {
  const document = new Map<string, 1 | -1>(sort);
  if (!document.has("_id")) document.set("_id", 1);
  return document;
}
