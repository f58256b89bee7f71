/** Vue bindings for presence. */
import {
  type ComputedRef,
  computed,
  getCurrentInstance,
  type MaybeRefOrGetter,
  onMounted,
  onScopeDispose,
  shallowRef,
  toValue,
  watch,
} from "vue";
import type { TidewireError } from "../client/client.ts";
import {
  type Entry,
  type EntryState,
  enter,
  type PresenceEntry,
  whoIsIn,
} from "../client/presence/presence.ts";
import { useLiveQuery, useTidewire } from "./vue.ts";

/** A room as one who is in it sees it. */
export interface RoomPresence<D extends object> {
  /** Everybody in the room, the own entry included. A user with several tabs has several entries. */
  readonly entries: ComputedRef<readonly PresenceEntry<D>[]>;
  /** Whether this component is in the room. */
  readonly status: ComputedRef<EntryState["status"]>;
  /** Why it is not, or why the others cannot be shown. */
  readonly error: ComputedRef<TidewireError | undefined>;
  /** Replaces the own data. */
  readonly update: (data: D) => void;
}

const ENTERING: EntryState = { status: "entering", error: undefined };

/**
 * Is in a room as long as the component, or the effect scope around, lives, and follows who else is. On the server nobody
 * is in a room.
 * @param room A ref or a getter where it may change, `null` or `undefined` for none yet.
 * @param data What others see. A ref or a getter where it may change.
 */
export function usePresence<D extends object = Record<string, unknown>>(
  room: MaybeRefOrGetter<string | null | undefined>,
  data?: MaybeRefOrGetter<D | undefined>,
): RoomPresence<D> {
  const client = useTidewire();
  const state = shallowRef<EntryState>(ENTERING);
  let own: { readonly entry: Entry<D>; readonly unlisten: () => void } | undefined;
  const leave = () => {
    own?.unlisten();
    own?.entry.leave();
    own = undefined;
  };
  const move = () => {
    leave();
    state.value = ENTERING;
    const name = toValue(room);
    if (name === null || name === undefined) return;
    const entry = enter<D>(client, name, toValue(data));
    const unlisten = entry.onState((next) => {
      state.value = next;
    });
    own = { entry, unlisten };
  };
  const update = (next: D) => own?.entry.update(next);
  const stops: (() => void)[] = [];
  const start = () => {
    stops.push(watch(() => toValue(room), move, { immediate: true }));
    const changed = (next: D | undefined) => next !== undefined && update(next);
    stops.push(watch(() => toValue(data), changed, { deep: true }));
  };
  // A component is mounted only in a browser. Outside of a component, the caller wants to be there at once.
  if (getCurrentInstance() === null) start();
  else onMounted(start);
  onScopeDispose(() => {
    for (const stop of stops) stop();
    leave();
  });
  const others = useLiveQuery(() => {
    const name = toValue(room);
    return name === null || name === undefined ? null : whoIsIn<D>(client, name);
  });
  return {
    entries: others.data,
    status: computed(() => state.value.status),
    error: computed(() => state.value.error ?? others.error.value),
    update,
  };
}
