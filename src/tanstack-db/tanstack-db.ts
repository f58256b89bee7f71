/** A live query as a collection of TanStack DB. */
import type { CollectionConfig, SyncConfig, UtilsRecord } from "@tanstack/db";
import type { Change, Client, OperationTime, Query } from "../client/client.ts";
import { type Key, keyFor, keyOf } from "./key.ts";

export type { Key };

/** Functions that the collection offers besides those of TanStack DB. */
export interface TidewireUtils extends UtilsRecord {
  /**
   * Settles once the collection holds what was written up to then. Awaited at the end of `onInsert`, `onUpdate` or
   * `onDelete`, it makes the optimistic state give way to the real one without a moment of neither.
   */
  readonly written: (operationTime: OperationTime) => Promise<void>;
}

/**
 * The options of the application: an `id`, a schema of TanStack's, and the handlers that write through its backend.
 */
type Own<R extends object> = Omit<
  CollectionConfig<R, Key, never, TidewireUtils>,
  "getKey" | "sync" | "utils" | "schema"
>;
/** Options for `createCollection` of TanStack DB. */
export type TidewireCollectionConfig<R extends object> = Own<R> &
  Pick<CollectionConfig<R, Key, never, TidewireUtils>, "getKey" | "sync"> & { readonly utils: TidewireUtils };

type Write<R extends object> = Parameters<SyncConfig<R, Key>["sync"]>[0];

/**
 * The options for `createCollection`. The query is followed as long as the collection is in use; what comes together is
 * one transaction there.
 * @param own `onInsert` and the like, which write through the backend: Tidewire has no writes.
 */
export function tidewireCollectionOptions<T extends object, R extends object>(
  client: Pick<Client, "fence">,
  query: Query<T, R>,
  own: Own<R> = {},
): TidewireCollectionConfig<R> {
  let flush = () => {};
  return {
    ...own,
    getKey: keyOf,
    utils: {
      written: async (operationTime) => {
        await client.fence(operationTime);
        flush();
      },
    },
    sync: {
      rowUpdateMode: "full",
      sync: (into) => {
        const sync = new Sync<R>(into);
        flush = () => sync.flush();
        return query.subscribe({
          change: (change) => sync.take(change),
          data: () => sync.flush(),
          // Without an `error` observer, the client's logger reports what the collection cannot show.
          status: (status) => {
            const { error } = query.getState();
            if (status === "live") sync.ready();
            else if (status === "stopped" && error !== undefined) sync.failed(error);
          },
        });
      },
    },
  };
}

/** Applies changes to the collection. Changes that arrive together are one transaction. */
class Sync<R extends object> {
  readonly #into: Write<R>;
  readonly #held = new Set<Key>();
  #isOpen = false;
  #isReady = false;

  constructor(into: Write<R>) {
    this.#into = into;
  }

  take(change: Change<R>): void {
    const { begin, write, truncate } = this.#into;
    if (!this.#isOpen) begin();
    this.#isOpen = true;
    if (change.type === "snapshot") {
      truncate();
      this.#held.clear();
      for (const doc of change.docs) this.#put(doc);
    } else if (change.type === "removed") {
      const key = keyFor(change._id);
      if (this.#held.delete(key)) write({ type: "delete", key });
    } else this.#put(change.doc);
  }

  flush(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#into.commit();
  }

  ready(): void {
    this.flush();
    if (!this.#isReady) this.#into.markReady();
    this.#isReady = true;
  }

  /** The documents that the collection has stay. Only a collection that was never ready can fail. */
  failed(error: Error): void {
    this.flush();
    if (!this.#isReady) this.#into.markError(error);
  }

  #put(doc: R): void {
    const key = keyOf(doc);
    this.#into.write({ type: this.#held.has(key) ? "update" : "insert", value: doc });
    this.#held.add(key);
  }
}
