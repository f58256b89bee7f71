"use client";

/** React bindings of the Tidewire client. */
import {
  createContext,
  createElement,
  type ReactElement,
  type ReactNode,
  useCallback,
  useContext,
  useRef,
  useSyncExternalStore,
} from "react";
import type { Client, ConnectionState, Query, QueryState, Untyped } from "../client/client.ts";
import { hasResult, initialOf } from "../client/internals.ts";
import { UNUSED } from "../client/live-result.ts";

/** A client of any schema. */
// biome-ignore lint/suspicious/noExplicitAny: the schema of a client is known where it is made, and where it is used.
type AnyClient = Client<any>;

const TidewireContext = createContext<AnyClient | undefined>(undefined);

/** Makes a client known to all components below. It stays yours: unmounting the provider does not close it. */
export function TidewireProvider(props: {
  readonly client: AnyClient;
  readonly children?: ReactNode;
}): ReactElement {
  return createElement(TidewireContext.Provider, { value: props.client }, props.children);
}

/** The client of the nearest provider. `S` is its schema, if it has one. */
export function useTidewire<S extends object = Untyped>(): Client<S> {
  const client = useContext(TidewireContext);
  if (client === undefined) throw new Error("useTidewire needs a <TidewireProvider> around the component");
  return client;
}

/**
 * Used on the server, where nothing is followed, and while the browser takes over. The page is rendered with the results that
 * the server has read, or else as it looks before the first answer.
 */
const serverState = <T extends object, R>(query: Query<T, R> | null | undefined) =>
  ((query && initialOf(query)) ?? UNUSED) as QueryState<R>; // the application declares the type of its documents
const nothing = () => {};

/**
 * Follows a query as long as the component is mounted. The query may be created again in every render: equal queries
 * are one. State, result and documents stay the same objects as long as they do not change.
 * @param query What to follow; `null` or `undefined` for nothing yet.
 */
export function useLiveQuery<T extends object, R>(query: Query<T, R> | null | undefined): QueryState<R>;
/**
 * Follows a query, and derives a value from its state. The component renders again only when the value has changed.
 * @param isEqual Whether two values are the same. The component then keeps the first one. Default: `Object.is`.
 */
export function useLiveQuery<T extends object, R, S>(
  query: Query<T, R> | null | undefined,
  select: (state: QueryState<R>) => S,
  isEqual?: (a: S, b: S) => boolean,
): S;
export function useLiveQuery<T extends object, R, S>(
  query: Query<T, R> | null | undefined,
  select: (state: QueryState<R>) => S = asIs,
  isEqual: (a: S, b: S) => boolean = Object.is,
): S {
  // The identity of a query consists of its client and its request.
  const { client, key } = query ?? {};
  // biome-ignore lint/correctness/useExhaustiveDependencies: `query` is another object in every render, and the same query.
  const subscribe = useCallback((changed: () => void) => query?.subscribe(changed) ?? nothing, [client, key]);
  const last = useRef<Selected<R, S> | undefined>(undefined);
  const selectFrom = (state: QueryState<R>): S => {
    const before = last.current;
    if (before?.state === state && before.select === select) return before.value;
    const selected = select(state);
    const value = before !== undefined && isEqual(before.value, selected) ? before.value : selected;
    last.current = { state, select, value };
    return value;
  };
  return useSyncExternalStore<S>(
    subscribe,
    () => selectFrom(query?.getState() ?? UNUSED),
    () => selectFrom(serverState(query)),
  );
}

/** The last derived value, and what it was derived from. */
interface Selected<R, S> {
  readonly state: QueryState<R>;
  readonly select: (state: QueryState<R>) => S;
  readonly value: S;
}

const asIs = <S>(state: unknown) => state as S; // without `select`, the value is the state

/** The state of the connection of the nearest provider's client, for example for a sign that the page is offline. */
export function useConnection(): ConnectionState {
  const client = useTidewire();
  const subscribe = useCallback((changed: () => void) => client.onState(changed), [client]);
  return useSyncExternalStore(
    subscribe,
    () => client.state,
    () => IDLE,
  );
}

const IDLE: ConnectionState = Object.freeze({ status: "idle", transport: "ws", error: undefined });

/** How long a result that no component has shown yet is followed after it has arrived, in milliseconds. */
const UNSHOWN_MS = 5_000;

/** The arrivals for which components wait, by client and query. A component that waits has no state of its own. */
const waiting = new WeakMap<object, Map<string, Promise<void>>>();

function arrivalOf<T extends object, R>(query: Query<T, R>): Promise<void> {
  const ofClient = waiting.get(query.client) ?? new Map<string, Promise<void>>();
  waiting.set(query.client, ofClient);
  const known = ofClient.get(query.key);
  if (known !== undefined) return known;
  const stop = query.subscribe({ error: nothing });
  const arrival = query
    .snapshot()
    .then(nothing, nothing) // the component reads the error from the state
    .finally(() => {
      ofClient.delete(query.key);
      setTimeout(stop, UNSHOWN_MS);
    });
  ofClient.set(query.key, arrival);
  return arrival;
}

/**
 * Follows a query, and suspends the component until the first result has arrived. After that, the component shows the
 * last result while the client is offline.
 * @throws {TidewireError} Why the query has stopped, to the nearest error boundary.
 */
export function useLiveQuerySuspense<T extends object, R>(query: Query<T, R>): QueryState<R> {
  const state = useLiveQuery(query);
  if (state.status === "stopped" && state.error !== undefined) throw state.error;
  // Documents that the client held already, for example those of a smaller window, are shown at once.
  const isHeld = state.status === "live" || state.data.length > 0 || hasResult(query);
  if (!isHeld && !("document" in globalThis))
    throw new Error("useLiveQuerySuspense has no result on the server; the browser renders the component");
  if (!isHeld) throw arrivalOf(query);
  return state;
}
