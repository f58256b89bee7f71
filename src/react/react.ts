"use client";

/** React bindings of the Tidewire client. */
import {
  createContext,
  createElement,
  type ReactElement,
  type ReactNode,
  useCallback,
  useContext,
  useSyncExternalStore,
} from "react";
import type { Client, Query, QueryState } from "../client/client.ts";
import { UNUSED } from "../client/live-result.ts";

const TidewireContext = createContext<Client | undefined>(undefined);

/** Makes a client known to all components below. It stays yours: unmounting the provider does not close it. */
export function TidewireProvider(props: {
  readonly client: Client;
  readonly children?: ReactNode;
}): ReactElement {
  return createElement(TidewireContext.Provider, { value: props.client }, props.children);
}

/** The client of the nearest provider. */
export function useTidewire(): Client {
  const client = useContext(TidewireContext);
  if (client === undefined) throw new Error("useTidewire needs a <TidewireProvider> around the component");
  return client;
}

/** Used on the server, where nothing is followed: the page is rendered as it looks before the first answer. */
const serverState = () => UNUSED;
const nothing = () => {};

/**
 * Follows a query as long as the component is mounted. The query may be created again in every render: equal queries
 * are one. State, result and documents stay the same objects as long as they do not change.
 * @param query What to follow; `null` or `undefined` for nothing yet.
 */
export function useLiveQuery<T extends object, R>(query: Query<T, R> | null | undefined): QueryState<R> {
  // The identity of a query consists of its client and its request.
  const { client, key } = query ?? {};
  // biome-ignore lint/correctness/useExhaustiveDependencies: `query` is another object in every render, and the same query.
  const subscribe = useCallback((changed: () => void) => query?.subscribe(changed) ?? nothing, [client, key]);
  return useSyncExternalStore<QueryState<R>>(subscribe, () => query?.getState() ?? UNUSED, serverState);
}
