import type { Part } from "../part.ts";
import { Persistence, type PersistOptions } from "../persistence.ts";

export type { PersistOptions, Saved, Store } from "../persistence.ts";
export { type ClearableStore, indexedDbStore, memoryStore } from "../stores.ts";

/** Keeps results, so that a reloaded page continues from them. */
export const persistence = (options: PersistOptions): Part => ({
  persistence: (prefix) => new Persistence(options, prefix),
});
