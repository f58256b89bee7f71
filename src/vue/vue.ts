/** Vue bindings of the Tidewire client. */
import {
  type ComputedRef,
  computed,
  type InjectionKey,
  inject,
  type MaybeRefOrGetter,
  type Plugin,
  type ShallowRef,
  toValue,
} from "vue";
import type { Client, ConnectionState, Query, QueryState, Untyped } from "../client/client.ts";
import { UNUSED } from "../client/live-result.ts";
import { follow } from "./follow.ts";

/** A client of any schema. */
// biome-ignore lint/suspicious/noExplicitAny: the schema of a client is known where it is made, and where it is used.
type AnyClient = Client<any>;

const CLIENT: InjectionKey<AnyClient> = Symbol("tidewire");

/** Makes a client known to an application: `app.use(tidewire(client))`. It stays yours, and open, after the app. */
export const tidewire = (client: AnyClient): Plugin => ({
  install: (app) => void app.provide(CLIENT, client),
});

/** The client of the application. `S` is its schema, if it has one. */
export function useTidewire<S extends object = Untyped>(): Client<S> {
  const client = inject(CLIENT);
  if (client === undefined) throw new Error("useTidewire needs app.use(tidewire(client))");
  return client;
}

/** The parts of a query's state, each reactive. */
export type LiveQuery<R> = { readonly [K in keyof QueryState<R>]: ComputedRef<QueryState<R>[K]> };

type Source<T extends object, R> = MaybeRefOrGetter<Query<T, R> | null | undefined>;

/**
 * Follows a query as long as the component, or the effect scope around, lives. On the server nothing is followed.
 * @param query What to follow; a ref or a getter where it may change, `null` or `undefined` for nothing yet.
 */
export function useLiveQuery<T extends object, R>(query: Source<T, R>): LiveQuery<R>;
/**
 * Follows a query, and derives a value from its state. Its dependents are updated only when the value has changed.
 * @param isEqual Whether two values are the same. The first one is kept then. Default: `Object.is`.
 */
export function useLiveQuery<T extends object, R, S>(
  query: Source<T, R>,
  select: (state: QueryState<R>) => S,
  isEqual?: (a: S, b: S) => boolean,
): ComputedRef<S>;
export function useLiveQuery<T extends object, R, S>(
  query: Source<T, R>,
  select?: (state: QueryState<R>) => S,
  isEqual: (a: S, b: S) => boolean = Object.is,
): LiveQuery<R> | ComputedRef<S> {
  const identity = () => [toValue(query)?.client, toValue(query)?.key];
  const held = toValue(query)?.getState() ?? UNUSED;
  const state = follow<QueryState<R>>(
    identity,
    held,
    (listener) => toValue(query)?.subscribe(listener),
    UNUSED,
  );
  if (select !== undefined) {
    let last: { readonly value: S } | undefined;
    return computed(() => {
      const value = select(state.value);
      last = last !== undefined && isEqual(last.value, value) ? last : { value };
      return last.value;
    });
  }
  return {
    data: computed(() => state.value.data),
    status: computed(() => state.value.status),
    error: computed(() => state.value.error),
  };
}

/** The state of the connection of the application's client, for example for a sign that the page is offline. */
export function useConnection(): Readonly<ShallowRef<ConnectionState>> {
  const client = useTidewire();
  return follow(
    () => [client],
    client.state,
    (listener) => client.onState(listener),
  );
}
