/** Vue bindings for writes that are shown at once. */
import { type MaybeRefOrGetter, type Ref, shallowRef, toValue } from "vue";
import type { Query } from "../client/client.ts";
import {
  type OptimisticChange,
  type OptimisticOptions,
  optimistic,
} from "../client/optimistic/optimistic.ts";

/** Writes of a component, and their state. */
export interface OptimisticWrite<R> {
  /** Shows a change at once, and makes the write: `optimistic` of the client. */
  readonly write: <W>(
    change: OptimisticChange<R> | readonly OptimisticChange<R>[],
    write: Promise<W> | (() => Promise<W>),
    options?: OptimisticOptions,
  ) => Promise<W>;
  /** How many writes of this component are not settled yet. */
  readonly pending: Readonly<Ref<number>>;
  /** Why the last write failed; `undefined` after the next one begins. */
  readonly error: Readonly<Ref<unknown>>;
}

/**
 * Writes that a query shows at once.
 * @param query The query, or all queries that the changes may concern; a ref or a getter where it may change.
 */
export function useOptimisticWrite<T extends object, R extends object>(
  query: MaybeRefOrGetter<Query<T, R> | readonly Query<T, R>[]>,
): OptimisticWrite<R> {
  const pending = shallowRef(0);
  const error = shallowRef<unknown>();
  const write: OptimisticWrite<R>["write"] = async (change, make, options) => {
    pending.value++;
    error.value = undefined;
    try {
      return await optimistic(toValue(query), change, make, options);
    } catch (thrown) {
      error.value = thrown;
      throw thrown;
    } finally {
      pending.value--;
    }
  };
  return { write, pending, error };
}
