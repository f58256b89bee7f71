import { getCurrentInstance, onMounted, onScopeDispose, type ShallowRef, shallowRef, watch } from "vue";

/**
 * Follows a source as long as the component, or the effect scope around, lives. On the server nothing is followed.
 * @param identity What the source depends on. When it changes, the new source is followed before the old one is left.
 * @param initial The state without a source, and before the first one.
 * @param subscribe Calls the listener at once and after every change. Returns how to stop, or nothing without a source.
 */
export function follow<S>(
  identity: () => readonly unknown[],
  initial: S,
  subscribe: (listener: (state: S) => void) => (() => void) | undefined,
  empty = initial,
): Readonly<ShallowRef<S>> {
  const state = shallowRef(initial) as ShallowRef<S>;
  let stop: (() => void) | undefined;
  const restart = () => {
    const before = stop;
    // A new query that is equal keeps its subscription, so nothing ends in between.
    stop = subscribe((next) => {
      state.value = next;
    });
    if (stop === undefined) state.value = empty;
    before?.();
  };
  const start = () => watch(identity, restart, { immediate: true });
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
  return state;
}
