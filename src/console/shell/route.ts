import { useSyncExternalStore } from "react";
import { hrefOf } from "./address.ts";

/** Shows another view. */
export function goTo(view: string, fields?: Readonly<Record<string, string>>): void {
  location.hash = hrefOf(view, fields);
}

const subscribe = (onChange: () => void) => {
  window.addEventListener("hashchange", onChange);
  return () => window.removeEventListener("hashchange", onChange);
};

/** The hash of the address. */
export const useHash = (): string => useSyncExternalStore(subscribe, () => location.hash);
