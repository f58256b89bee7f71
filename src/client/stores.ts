import type { ClearableStore, Saved, Store } from "./persistence.ts";

/** Keeps results in memory as long as the page exists: for tests, and for clients that are closed and opened again. */
export function memoryStore(): Store {
  const kept = new Map<string, Saved>();
  return {
    load: async (key) => kept.get(key),
    save: async (key, saved) => void kept.set(key, saved),
    remove: async (key) => void kept.delete(key),
  };
}

/**
 * Keeps results in the browser's IndexedDB, so that a reloaded page continues from them.
 * @param name The name of the database.
 */
export function indexedDbStore(name = "tidewire"): ClearableStore {
  let opened: Promise<ClearableStore> | undefined;
  const open = () => {
    opened ??= import("./persistence.ts").then(({ openIndexedDb }) => openIndexedDb(name));
    return opened;
  };
  return {
    load: async (key) => (await open()).load(key),
    save: async (key, saved) => (await open()).save(key, saved),
    remove: async (key) => (await open()).remove(key),
    clear: async () => (await open()).clear(),
  };
}
