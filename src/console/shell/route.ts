import { useMemo, useSyncExternalStore } from "react";
import { hrefOf, parseRoute } from "./address.ts";

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

/** The fields of the search in the address. */
export function useFields(): Readonly<Record<string, string>> {
  const hash = useHash();
  return useMemo(() => parseRoute(hash).fields, [hash]);
}
