/** Vue bindings of the Tidewire client. */
import {
  type ComputedRef,
  computed,
  getCurrentInstance,
  type InjectionKey,
  inject,
  type MaybeRefOrGetter,
  onMounted,
  onScopeDispose,
  type Plugin,
  shallowRef,
  toValue,
  watch,
} from "vue";
import type { Client, Query, QueryState } from "../client/client.ts";
import { UNUSED } from "../client/live-result.ts";

const CLIENT: InjectionKey<Client> = Symbol("tidewire");

/** Makes a client known to an application: `app.use(tidewire(client))`. It stays yours, and open, after the app. */
export const tidewire = (client: Client): Plugin => ({ install: (app) => void app.provide(CLIENT, client) });

/** The client of the application. */
export function useTidewire(): Client {
  const client = inject(CLIENT);
  if (client === undefined) throw new Error("useTidewire needs app.use(tidewire(client))");
  return client;
}

/** The parts of a query's state, each reactive. */
export type LiveQuery<R> = { readonly [K in keyof QueryState<R>]: ComputedRef<QueryState<R>[K]> };

/**
 * Follows a query as long as the component, or the effect scope around, lives. On the server nothing is followed.
 * @param query What to follow; a ref or a getter where it may change, `null` or `undefined` for nothing yet.
 */
export function useLiveQuery<T extends object, R>(
  query: MaybeRefOrGetter<Query<T, R> | null | undefined>,
): LiveQuery<R> {
  const state = shallowRef<QueryState<R>>(toValue(query)?.getState() ?? UNUSED);
  let stop: (() => void) | undefined;
  const follow = () => {
    const before = stop;
    // A new query that is equal keeps its subscription, so nothing ends in between.
    stop = toValue(query)?.subscribe((next) => {
      state.value = next;
    });
    if (stop === undefined) state.value = UNUSED;
    before?.();
  };
  const identity = () => [toValue(query)?.client, toValue(query)?.key];
  const start = () => watch(identity, follow, { immediate: true });
  let unwatch: (() => void) | undefined;
  // A component is mounted only in a browser. Outside of a component, the caller wants to follow at once.
  if (getCurrentInstance() === null) unwatch = start();
  else {
    onMounted(() => {
      unwatch = start();
    });
  }
  onScopeDispose(() => {
    unwatch?.();
    stop?.();
  });
  return {
    data: computed(() => state.value.data),
    status: computed(() => state.value.status),
    error: computed(() => state.value.error),
  };
}
