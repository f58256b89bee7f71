/** Vue bindings for lists that grow page by page. */
import { type ComputedRef, computed, type MaybeRefOrGetter, toValue } from "vue";
import type { Query } from "../client/client.ts";
import { UNUSED } from "../client/live-result.ts";
import { type Pages, type PagesState, pages } from "../client/pages/pages.ts";
import { follow } from "./follow.ts";

const EMPTY: PagesState<never> = Object.freeze({ ...UNUSED, hasMore: false, isLoadingMore: false });

/** The parts of a list's state, each reactive, and the function that shows the next page. */
export type LiveInfinite<R> = { readonly [K in keyof PagesState<R>]: ComputedRef<PagesState<R>[K]> } & {
  readonly more: () => void;
};

/**
 * Follows a sorted query as a list that grows. It begins with the first page, and `more` shows the next one.
 * @param query The query; a ref or a getter where it may change, `null` or `undefined` for nothing yet.
 * @param size The number of documents of a page.
 */
export function useLiveInfinite<T extends object, R extends object>(
  query: MaybeRefOrGetter<Query<T, R> | null | undefined>,
  size: MaybeRefOrGetter<number>,
): LiveInfinite<R> {
  const identity = () => [toValue(query)?.client, toValue(query)?.key, toValue(size)];
  let list: Pages<R> | undefined;
  const state = follow<PagesState<R>>(identity, EMPTY, (listener) => {
    const current = toValue(query);
    list = current == null ? undefined : pages(current, toValue(size));
    return list?.subscribe(listener);
  });
  return {
    data: computed(() => state.value.data),
    status: computed(() => state.value.status),
    error: computed(() => state.value.error),
    hasMore: computed(() => state.value.hasMore),
    isLoadingMore: computed(() => state.value.isLoadingMore),
    more: () => list?.more(),
  };
}
