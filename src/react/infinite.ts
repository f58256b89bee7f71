"use client";

/** React bindings for lists that grow page by page. */
import { useMemo, useSyncExternalStore } from "react";
import type { Query } from "../client/client.ts";
import { UNUSED } from "../client/live-result.ts";
import { type PagesState, pages } from "../client/pages/pages.ts";

const EMPTY: PagesState<never> = Object.freeze({ ...UNUSED, hasMore: false, isLoadingMore: false });
const nothing = () => {};
/** On the server nothing is followed. */
const serverState = () => EMPTY;

/**
 * Follows a sorted query as a list that grows. It begins with the first page, and `more` shows the next one.
 * @param query The query, which may be created again in every render; `null` or `undefined` for nothing yet.
 * @param size The number of documents of a page.
 */
export function useLiveInfinite<T extends object, R extends object>(
  query: Query<T, R> | null | undefined,
  size: number,
): PagesState<R> & { readonly more: () => void } {
  // The identity of a query consists of its client and its request.
  const { client, key } = query ?? {};
  // biome-ignore lint/correctness/useExhaustiveDependencies: `query` is another object in every render, and the same query.
  const list = useMemo(() => (query == null ? undefined : pages(query, size)), [client, key, size]);
  const state = useSyncExternalStore<PagesState<R>>(
    list?.subscribe ?? (() => nothing),
    list?.getState ?? serverState,
    serverState,
  );
  const more = list?.more ?? nothing;
  return useMemo(() => ({ ...state, more }), [state, more]);
}
