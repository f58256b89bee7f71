import { TidewireError } from "../protocol/errors.ts";
import type { DocumentMode, SortSpec } from "../protocol/messages.ts";
import { ChangeQueue } from "./change-queue.ts";
import type { Listener, LiveRequest, LiveResult } from "./live-result.ts";
import type { Doc } from "./result-set.ts";
import { clientClosed } from "./to-error.ts";
import type { Change, Observer, Path, Projected, QueryState } from "./types.ts";

/** The parts of a client that its queries need. */
export interface QueryHost {
  /** The state of a request, followed or not. */
  stateOf(key: string, request: LiveRequest): QueryState<Doc>;
  /** The shared result of a request; the caller listens to it at once. */
  acquire(key: string, request: LiveRequest): LiveResult;
}

/** How the documents of a query come. */
export interface FindOptions {
  /** `false`: no documents to begin with, only changes from now on. */
  readonly snapshot?: boolean;
  /** `"delta"`: changes to large documents come as what has changed in them. The result is the same. */
  readonly documents?: DocumentMode;
}

/**
 * A live query: what to follow. Making one costs nothing and asks for nothing; the service hears of it when
 * somebody follows it, and equal queries are asked for once. Never altered: each step gives another query.
 *
 * It is a Svelte store as well: `subscribe` with a function calls it with the state, at once and ever after.
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
    this.#host = host;
    this.client = host;
    this.#request = request;
    this.key = JSON.stringify(request);
  }

  /** Only these fields, by dotted path; `_id` always comes. */
  fields<const P extends Path<T>>(...paths: readonly P[]): Query<T, Projected<T, P>> {
    return new Query(this.#host, { ...this.#request, fields: [...paths] });
  }

  /** Sorts by a path, `1` ascending; called again, ties by another one. The last ties are broken by `_id`. */
  sort(path: Path<T>, direction: 1 | -1 = 1): Query<T, R> {
    const sort = [...(this.#request.sort ?? []), [path, direction] as SortSpec[number] & [string, 1 | -1]];
    return new Query(this.#host, { ...this.#request, sort });
  }

  /**
   * At most so many documents, the first by the sort; needs one. A query with another limit shows the documents that
   * the client holds of this one until its own are complete.
   */
  limit(limit: number): Query<T, R> {
    return new Query(this.#host, { ...this.#request, limit });
  }

  /**
   * Follows the query until the function that is returned is called.
   * @param observer The listeners; or a function that receives every state, at once and ever after.
   */
  subscribe(observer: Observer<R> | ((state: QueryState<R>) => void)): () => void {
    if (typeof observer !== "function") return this.#follow(observer);
    const stop = this.#follow({ state: observer });
    observer(this.getState());
    return stop;
  }

  /** The state of now: the same object as long as nothing changes. Does not follow the query by itself. */
  getState(): QueryState<R> {
    const state = this.#host.stateOf(this.key, this.#request);
    return state as QueryState<unknown> as QueryState<R>; // documents are what the application says they are
  }

  /**
   * Every change, a `snapshot` first. Ends when the loop is left or the client is closed; throws when the query has
   * stopped for another reason. A loop that reads too slowly receives another `snapshot`.
   */
  changes(): AsyncIterableIterator<Change<R>> {
    // Assigned late: a query that has stopped already ends the queue while it is being followed.
    let stop: (() => void) | undefined;
    const queue = new ChangeQueue<R>(
      () => this.getState().data,
      () => stop?.(),
    );
    stop = this.#follow({
      change: (change) => queue.push(change),
      stopped: (error) => (error === undefined ? void queue.return() : queue.fail(error)),
    });
    return queue;
  }

  /** The result, once it is up to date. @throws {TidewireError} Why the query has stopped. */
  snapshot(): Promise<readonly R[]> {
    return new Promise((resolve, reject) => {
      let stop: (() => void) | undefined;
      let isSettled = false;
      const settle = () => {
        isSettled = true;
        stop?.();
      };
      const state = ({ status, data }: QueryState<R>) => {
        if (status !== "live") return;
        resolve(data);
        settle();
      };
      const stopped = (error = clientClosed()) => {
        reject(error);
        settle();
      };
      stop = this.#follow({ state, stopped });
      state(this.getState());
      if (isSettled) stop();
    });
  }

  #follow(
    listener: Observer<R> & Pick<Listener, "stopped"> & { state?: (state: QueryState<R>) => void },
  ): () => void {
    const result = this.#host.acquire(this.key, this.#request);
    // Documents are what the application says they are.
    return result.listen(listener as Listener & Observer<Doc>);
  }
}
