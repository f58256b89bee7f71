/** A collection of TanStack DB that loads what its live queries ask for: each subset is a live query of its own. */
import type { CollectionConfig, LoadSubsetOptions, SyncConfig, UtilsRecord } from "@tanstack/db";
import type { Change, Collection, Query } from "../client/client.ts";
import type { OperationTime } from "../client/fences.ts";
import { hostOf } from "../client/internals.ts";
import type { Filter } from "../client/types.ts";
import { type Key, keyFor, keyOf } from "./key.ts";
import { filtersOf } from "./where.ts";

type Write<R extends object> = Parameters<SyncConfig<R, Key>["sync"]>[0];
type Own<R extends object> = Omit<
  CollectionConfig<R, Key, never, OnDemandUtils>,
  "getKey" | "sync" | "utils" | "schema" | "syncMode"
>;

/** Functions that the collection offers besides those of TanStack DB. */
export interface OnDemandUtils extends UtilsRecord {
  /** Settles once the collection holds what was written up to then. */
  readonly written: (operationTime: OperationTime) => Promise<void>;
}

/** Options for `createCollection` of TanStack DB. */
export type OnDemandCollectionConfig<R extends object> = Own<R> &
  Pick<CollectionConfig<R, Key, never, OnDemandUtils>, "getKey" | "sync" | "syncMode"> & {
    readonly utils: OnDemandUtils;
  };

/**
 * The options for `createCollection`. The collection holds the rows that its live queries need, and follows them as long as
 * they are needed: the filters, joins and groups of many queries, over small results of the service.
 * @param own `onInsert` and the like, which write through the backend: Tidewire has no writes.
 */
export function tidewireOnDemandOptions<T extends object>(
  collection: Collection<T>,
  own: Own<T> = {},
): OnDemandCollectionConfig<T> {
  let subsets: Subsets<T> | undefined;
  const { client } = hostOf(collection.find());
  return {
    ...own,
    getKey: keyOf,
    syncMode: "on-demand",
    utils: {
      written: async (operationTime) => {
        await client.fence(operationTime);
        subsets?.flush();
      },
    },
    sync: {
      rowUpdateMode: "full",
      sync: (into) => {
        const own = new Subsets(collection, into);
        subsets = own;
        // Nothing is loaded before a query asks for it.
        into.markReady();
        return {
          loadSubset: (options) => own.load(options),
          unloadSubset: (options) => own.unload(options),
          cleanup: () => own.end(),
        };
      },
    },
  };
}

/** One live query, for all subsets with the same filter. */
interface Followed {
  users: number;
  readonly stop: () => void;
  readonly loaded: Promise<void>;
  readonly keys: Set<Key>;
}

/** The live queries of a collection, and the rows that they hold. A row stays while one of them holds it. */
class Subsets<T extends object> {
  readonly #collection: Collection<T>;
  readonly #into: Write<T>;
  readonly #followed = new Map<string, Followed>();
  /** How many live queries hold each row. */
  readonly #held = new Map<Key, number>();
  /** The live queries that each request has acquired. TanStack DB releases them by the same object. */
  readonly #acquired = new Map<LoadSubsetOptions, readonly string[]>();
  #isOpen = false;

  constructor(collection: Collection<T>, into: Write<T>) {
    this.#collection = collection;
    this.#into = into;
  }

  /** A limit is left to TanStack DB: the rows that match are followed all. */
  async load(options: LoadSubsetOptions): Promise<void> {
    const mode = hostOf(this.#collection.find()).values;
    const queries = filtersOf(options.where, mode).map((filter) =>
      this.#collection.find(filter as Filter<T>),
    );
    const followed = queries.map((query) => this.#follow(query));
    // A request that is made again holds what it held until the new one is held.
    const before = this.#acquired.get(options);
    this.#acquired.set(
      options,
      queries.map(({ key }) => key),
    );
    for (const key of before ?? []) this.#leave(key);
    await Promise.all(followed.map(({ loaded }) => loaded));
  }

  unload(options: LoadSubsetOptions): void {
    const keys = this.#acquired.get(options) ?? [];
    this.#acquired.delete(options);
    for (const key of keys) this.#leave(key);
    this.flush();
  }

  end(): void {
    for (const { stop } of this.#followed.values()) stop();
    this.#followed.clear();
    this.#held.clear();
    this.#acquired.clear();
  }

  flush(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#into.commit();
  }

  #follow(query: Query<T>): Followed {
    const known = this.#followed.get(query.key);
    if (known !== undefined) {
      known.users++;
      return known;
    }
    const keys = new Set<Key>();
    let stop: (() => void) | undefined;
    const loaded = new Promise<void>((resolve, reject) => {
      stop = query.subscribe({
        change: (change) => this.#take(keys, change),
        data: () => this.flush(),
        status: (status) => {
          const { error } = query.getState();
          this.flush();
          if (status === "live") resolve();
          else if (status === "stopped") reject(error ?? new Error("the client was closed"));
        },
      });
    });
    // The request that waits receives the error. A query that stops later was answered before.
    loaded.catch(() => {});
    const followed = { users: 1, keys, loaded, stop: () => stop?.() };
    this.#followed.set(query.key, followed);
    return followed;
  }

  #leave(key: string): void {
    const followed = this.#followed.get(key);
    if (followed === undefined || --followed.users > 0) return;
    this.#followed.delete(key);
    followed.stop();
    for (const row of followed.keys) this.#release(row);
  }

  #take(keys: Set<Key>, change: Change<T>): void {
    if (change.type === "snapshot") {
      const now = new Set(change.docs.map(keyOf));
      for (const doc of change.docs) this.#put(keys, doc);
      for (const key of keys) if (!now.has(key) && keys.delete(key)) this.#release(key);
    } else if (change.type === "removed") {
      const key = keyFor(change._id);
      if (keys.delete(key)) this.#release(key);
    } else this.#put(keys, change.doc);
  }

  #put(keys: Set<Key>, doc: T): void {
    const key = keyOf(doc);
    const holders = this.#held.get(key) ?? 0;
    if (!keys.has(key)) this.#held.set(key, holders + 1);
    keys.add(key);
    this.#begin();
    this.#into.write({ type: holders > 0 ? "update" : "insert", value: doc });
  }

  #release(key: Key): void {
    const holders = (this.#held.get(key) ?? 1) - 1;
    if (holders > 0) {
      this.#held.set(key, holders);
      return;
    }
    this.#held.delete(key);
    this.#begin();
    this.#into.write({ type: "delete", key });
  }

  #begin(): void {
    if (!this.#isOpen) this.#into.begin();
    this.#isOpen = true;
  }
}
