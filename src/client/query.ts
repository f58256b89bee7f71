/**
 * The query API of applications. A query is a description: it can be created, compared and passed around without any
 * cost, and becomes active when it is followed.
 */
import { TidewireError } from "../protocol/errors.ts";
import type { AggregateRequest, DocumentMode, SortSpec, ValueMode } from "../protocol/messages.ts";
import type { Count, GroupId, GroupValues, Row } from "./aggregates.ts";
import type { OperationTime } from "./fences.ts";
import type { InitialResults } from "./initial.ts";
import type { Listener, LiveRequest, LiveResult } from "./live-result.ts";
import { lacksPart, type Part } from "./part.ts";
import type { Doc } from "./result-set.ts";
import type { ConnectionState } from "./session-options.ts";
import { clientClosed } from "./to-error.ts";
import type { Change, Observer, Path, Projected, QueryState } from "./types.ts";

/** The parts of a client that its queries need. */
export interface QueryHost {
  /** The state of a request, followed or not. */
  stateOf(key: string, request: LiveRequest): QueryState<Doc>;
  /** The results that are held, by the keys of their requests. */
  readonly results: ReadonlyMap<string, LiveResult>;
  /** The results that a server has rendered, if there are any. */
  readonly initial: InitialResults | undefined;
  /** The shared result of a request. The caller must listen to it at once. */
  acquire(key: string, request: LiveRequest): LiveResult;
  /** The client itself, for the other entries of the package. */
  readonly client: Connected;
  readonly parts: Part;
  readonly values: ValueMode;
}

/** The parts of a client that concern its connection. */
export interface Connected {
  readonly state: ConnectionState;
  onState(listener: (state: ConnectionState) => void): () => void;
  fence(operationTime: OperationTime): Promise<void>;
}

/** How the documents of a query are delivered. */
export interface FindOptions {
  /** `false`: no documents at the start, only changes from now on. */
  readonly snapshot?: boolean;
  /** `"delta"`: changes of large documents are sent as the changed parts. The result is the same. */
  readonly documents?: DocumentMode;
}

/**
 * A live query. Creating one costs nothing and sends nothing. The service receives it when it is followed, and equal
 * queries are sent once. Queries are immutable: each step returns another query.
 *
 * It is also a Svelte store: `subscribe` with a function calls it with the state, at once and after every change.
 */
export class Query<T extends object, R = T> {
  /** Equal for equal queries of a client. */
  readonly key: string;
  /** The same object for all queries of a client. */
  readonly client: object;
  readonly #host: QueryHost;
  readonly #request: LiveRequest;

  /** @internal */
  constructor(host: QueryHost, request: LiveRequest) {
    if (request.snapshot === false && (request.limit !== undefined || request.documents === "delta")) {
      throw new TidewireError("bad-request", "without a snapshot there is neither a limit nor a delta");
    }
    const { aggregate, sort, fields, documents } = request;
    if (aggregate && (sort ?? fields ?? documents))
      throw new TidewireError("bad-request", "counts and groups have no fields, sort or deltas");
    this.#host = host;
    this.client = host;
    this.#request = request;
    this.key = JSON.stringify(request);
  }

  /** Only these fields, as dotted paths; `_id` is always included. */
  fields<const P extends Path<T>>(...paths: readonly P[]): Query<T, Projected<T, P>> {
    return this.#with({ fields: [...paths] });
  }

  /** Sorts by a path, `1` ascending. A second call breaks ties by another path. The last ties are broken by `_id`. */
  sort(path: Path<T>, direction: 1 | -1 = 1): Query<T, R> {
    const sort = [...(this.#request.sort ?? []), [path, direction] as SortSpec[number] & [string, 1 | -1]];
    return this.#with({ sort });
  }

  /**
   * At most this many documents, the first by the sort, which is required. A query with another limit shows the
   * documents that the client has of this one until its own are complete.
   */
  limit(limit: number): Query<T, R> {
    return this.#with({ limit });
  }

  /**
   * The number of documents that match, without the documents: one row with `count`. It goes on counting as long as it is
   * followed.
   */
  count(): Query<T, Row<T, null, { count: Count }>> {
    return this.groupBy();
  }

  /**
   * The groups of documents with equal values at these paths, without the documents: one row for each, with its `_id` and
   * `count`. Without a path there is one row for all documents. `values` replaces the count.
   */
  groupBy<const P extends readonly Path<T>[]>(
    ...paths: P
  ): Query<T, Row<T, GroupId<T, P>, { count: Count }>> {
    // JSON leaves out what is undefined.
    return this.aggregate({ by: paths.length > 1 ? paths : paths[0] } as AggregateRequest);
  }

  /** After `groupBy`: the values of each group, in place of its count: `values({ total: sum("price") })`. */
  values<Id, const V extends GroupValues<T>>(
    this: Query<T, { readonly _id: Id; readonly count: number }>,
    values: V,
  ): Query<T, Row<T, Id, V>> {
    return this.aggregate({ ...this.#request.aggregate, values });
  }

  /** Counts and groups as the protocol writes them, for requests that are not known when the program is written. */
  aggregate<Q = { readonly _id: unknown } & Readonly<Record<string, unknown>>>(
    aggregate: AggregateRequest,
  ): Query<T, Q> {
    return this.#with({ aggregate });
  }

  #with<Q>(part: Partial<LiveRequest>): Query<T, Q> {
    return new Query(this.#host, { ...this.#request, ...part });
  }

  /**
   * Follows the query until the returned function is called.
   * @param observer The listeners, or a function that receives every state, at once and after every change.
   */
  subscribe(observer: Observer<R> | ((state: QueryState<R>) => void)): () => void {
    if (typeof observer !== "function") return this.#follow(observer);
    const stop = this.#follow({ state: observer });
    observer(this.getState());
    return stop;
  }

  /** The current state: the same object as long as nothing changes. It does not follow the query. */
  getState(): QueryState<R> {
    const state = this.#host.stateOf(this.key, this.#request);
    return state as QueryState<unknown> as QueryState<R>; // the application declares the type of its documents
  }

  /**
   * Every change, starting with a `snapshot`. The loop ends when it is left or the client is closed, and throws when
   * the query has stopped for another reason. A loop that reads too slowly receives another `snapshot`.
   */
  changes(): AsyncIterableIterator<Change<R>> {
    const { changes } = this.#host.parts;
    if (!changes) throw lacksPart("changes", "changes()");
    return changes<R>(
      () => this.getState().data,
      (listener) => this.#follow(listener),
    );
  }

  /**
   * The result, once it is up to date.
   * @throws {TidewireError} Why the query has stopped.
   */
  snapshot(): Promise<readonly R[]> {
    let stop: (() => void) | undefined;
    const result = new Promise<readonly R[]>((resolve, reject) => {
      const state = ({ status, data }: QueryState<R>) => {
        if (status === "live") resolve(data);
      };
      stop = this.#follow({ state, stopped: (error = clientClosed()) => reject(error) });
      state(this.getState());
    });
    return result.finally(stop);
  }

  #follow(
    listener: Observer<R> & Pick<Listener, "stopped"> & { state?: (state: QueryState<R>) => void },
  ): () => void {
    const result = this.#host.acquire(this.key, this.#request);
    // The application declares the type of its documents.
    return result.listen(listener as Listener & Observer<Doc>);
  }
}
