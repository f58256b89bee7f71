/** Lists that grow page by page, beyond the size of one window, and stay exact. */
import { TidewireError } from "../../protocol/errors.ts";
import type { SortSpec, ValueMode } from "../../protocol/messages.ts";
import { hostOf, requestOf } from "../internals.ts";
import type { LiveRequest } from "../live-result.ts";
import { Query, type QueryHost } from "../query.ts";
import { type Doc, keyOf } from "../result-set.ts";
import type { QueryState } from "../types.ts";
import { between } from "./bounds.ts";
import { even, isUneven, type Parts } from "./layout.ts";

/** The state of a list that grows. It is the same object as long as nothing changes. */
export interface PagesState<R> extends QueryState<R> {
  /** Whether documents follow after those that are shown. */
  readonly hasMore: boolean;
  /** Whether another page is arriving. */
  readonly isLoadingMore: boolean;
}

/** One arrangement of live queries. Together they give the list up to the end of the last one. */
interface Arrangement {
  readonly ends: readonly Doc[];
  readonly queries: readonly Query<Doc>[];
  /** Whether it has a page more than the one before. */
  readonly isLonger: boolean;
}

/**
 * Makes a list of a sorted query that grows by pages of `size` documents.
 * @throws {TidewireError} `bad-request` if the query has no sort, or does not show the fields by which it sorts.
 */
export function pages<T extends object, R extends object>(query: Query<T, R>, size: number): Pages<R> {
  const request = requestOf(query);
  const { sort, fields, limit } = request;
  const isSeen = (path: string) =>
    fields === undefined ||
    [...fields, "_id"].some((field) => path === field || path.startsWith(`${field}.`));
  const hidden = sort?.find(([path]) => !isSeen(path))?.[0];
  if (!(size >= 1 && Number.isInteger(size)))
    throw new RangeError("the size of a page is a positive integer");
  if (sort === undefined || limit !== undefined)
    throw new TidewireError("bad-request", "pages need a query with sort() and without limit()");
  if (hidden !== undefined)
    throw new TidewireError(
      "bad-request",
      `pages need the fields of their sort: add "${hidden}" to fields()`,
    );
  return new Pages<R>(hostOf(query), { ...request, sort }, size);
}

/** A list that grows. It follows its queries while it has a listener. */
export class Pages<R> {
  readonly #host: QueryHost;
  readonly #request: LiveRequest & { readonly sort: SortSpec };
  readonly #size: number;
  readonly #listeners = new Set<(state: PagesState<R>) => void>();
  #shown: Arrangement;
  /** The next arrangement. The shown one stays until all queries of the next one are live. */
  #next: Arrangement | undefined;
  /** Ends the following of a query, by its key. */
  readonly #stops = new Map<string, () => void>();
  /** Why the last next arrangement was given up. */
  #failure: TidewireError | undefined;
  /** The last state that was read. The application may read one that its listeners have not received yet. */
  #state: PagesState<R>;
  /** The parts of the state, and its documents. */
  #from: readonly unknown[] = [];
  #docs: readonly (readonly Doc[])[] = [];

  /** @internal */
  constructor(host: QueryHost, request: LiveRequest & { readonly sort: SortSpec }, size: number) {
    this.#host = host;
    this.#request = request;
    this.#size = size;
    this.#shown = this.#arrange([], false);
    this.#state = this.#read();
  }

  /** The current state. It does not follow the list. */
  getState = (): PagesState<R> => {
    this.#state = this.#read();
    return this.#state;
  };

  /**
   * Follows the list until the returned function is called.
   * @param listener Receives every state, at once and after every change.
   */
  subscribe = (listener: (state: PagesState<R>) => void): (() => void) => {
    // One for each call, because the same function may listen twice, and each call has received other states.
    let received: PagesState<R> | undefined;
    const own = (state: PagesState<R>) => {
      if (state === received) return;
      received = state;
      listener(state);
    };
    this.#listeners.add(own);
    if (this.#listeners.size === 1) this.#follow();
    own(this.getState());
    return () => {
      if (!this.#listeners.delete(own) || this.#listeners.size > 0) return;
      this.#next = undefined;
      this.#follow();
    };
  };

  /** Shows one more page, once it is complete. Without one, or while one is arriving, nothing happens. */
  more = (): void => {
    const { hasMore, isLoadingMore } = this.getState();
    const parts = this.#parts();
    const end = parts.docs.at(-1)?.at(-1);
    if (!hasMore || isLoadingMore || end === undefined || this.#listeners.size === 0) return;
    const longer = { ends: [...parts.ends, end], docs: [...parts.docs, []] };
    this.#failure = undefined;
    this.#next = this.#arrange(even(longer, this.#size), true);
    this.#follow();
    this.#changed();
  };

  #parts(): Parts {
    return { ends: this.#shown.ends, docs: this.#shown.queries.map((query) => query.getState().data) };
  }

  #arrange(ends: readonly Doc[], isLonger: boolean): Arrangement {
    const mode: ValueMode = this.#host.values;
    const queries = [...ends, undefined].map((end, at) => {
      const limit = end === undefined ? this.#size : undefined;
      return new Query<Doc>(this.#host, between(this.#request, mode, [ends[at - 1], end], limit));
    });
    return { ends, queries, isLonger };
  }

  /** Follows exactly the queries of both arrangements, or none without a listener. Equal queries are followed on. */
  #follow(): void {
    const isUsed = this.#listeners.size > 0;
    const wanted = isUsed ? [...this.#shown.queries, ...(this.#next?.queries ?? [])] : [];
    const keys = new Set(wanted.map(({ key }) => key));
    for (const query of wanted) {
      if (this.#stops.has(query.key)) continue;
      let isQuiet = true;
      // The first call arrives before the query is noted as followed.
      const stop = query.subscribe(() => {
        if (!isQuiet) this.#changed();
      });
      this.#stops.set(query.key, stop);
      isQuiet = false;
    }
    for (const [key, stop] of this.#stops) {
      if (keys.has(key)) continue;
      this.#stops.delete(key);
      stop();
    }
  }

  #changed(): void {
    this.#advance();
    const state = this.getState();
    for (const listener of [...this.#listeners]) listener(state);
  }

  /** Shows the next arrangement if it is complete, and divides a part that has become too long. */
  #advance(): void {
    const states = this.#next?.queries.map((query) => query.getState()) ?? [];
    const stopped = states.find(({ status }) => status === "stopped");
    if (
      this.#next !== undefined &&
      (stopped !== undefined || states.every(({ status }) => status === "live"))
    ) {
      // A page that the service refuses is given up, and the state says why.
      if (stopped === undefined) this.#shown = this.#next;
      else this.#failure = stopped.error;
      this.#next = undefined;
      this.#follow();
    }
    const isSettled = this.#next === undefined && this.#failure === undefined;
    if (!isSettled || this.#shown.queries.some((query) => query.getState().status !== "live")) return;
    const parts = this.#parts();
    if (!isUneven(parts, this.#size)) return;
    try {
      this.#next = this.#arrange(even(parts, this.#size), false);
    } catch (error) {
      this.#failure = error as TidewireError; // a document has an array where the list is sorted by it
      return;
    }
    this.#follow();
  }

  #read(): PagesState<R> {
    const states = this.#shown.queries.map((query) => query.getState());
    const from = [...states, this.#next, this.#failure];
    if (isSame(from, this.#from)) return this.#state;
    this.#from = from;
    const docs = states.map(({ data }) => data);
    const data = isSame(docs, this.#docs) ? this.#state.data : distinct(docs);
    this.#docs = docs;
    return Object.freeze({
      data: data as readonly unknown[] as readonly R[], // the application declares the type of its documents
      status: STATUS_ORDER.find((one) => states.some(({ status }) => status === one)) ?? "live",
      error: states.find(({ error }) => error !== undefined)?.error ?? this.#failure,
      hasMore: (docs.at(-1)?.length ?? 0) >= this.#size,
      isLoadingMore: this.#next?.isLonger === true,
    });
  }
}

const isSame = (a: readonly unknown[], b: readonly unknown[]) =>
  a.length === b.length && a.every((part, at) => part === b[at]);

/** The status of the list is that of the part that is furthest from live. */
const STATUS_ORDER = ["stopped", "offline", "connecting", "catching-up"] as const;

/** A document that moves may arrive in its new part before it leaves the old one. It is shown once. */
function distinct(parts: readonly (readonly Doc[])[]): readonly Doc[] {
  if (parts.length === 1) return parts[0] ?? [];
  const seen = new Set<string>();
  return parts.flat().filter(({ _id }) => {
    const key = keyOf(_id);
    return !seen.has(key) && seen.add(key);
  });
}
