import type { Saved, Store } from "./persistence.ts";

/** Keeps results in memory as long as the page exists: for tests, and for clients that are closed and opened again. */
export function memoryStore(): Store {
  const kept = new Map<string, Saved>();
  return {
    load: async (key) => kept.get(key),
    save: async (key, saved) => void kept.set(key, saved),
    remove: async (key) => void kept.delete(key),
  };
}

interface Request<T> {
  readonly result: T;
  readonly error: unknown;
  onsuccess: unknown;
  onerror: unknown;
  onupgradeneeded?: unknown;
}
interface ObjectStore {
  get(key: string): Request<Saved | undefined>;
  put(value: Saved, key: string): Request<unknown>;
  delete(key: string): Request<unknown>;
  clear(): Request<unknown>;
}
interface Database {
  createObjectStore(name: string): ObjectStore;
  transaction(name: string, mode: "readonly" | "readwrite"): { objectStore(name: string): ObjectStore };
}
interface Factory {
  open(name: string): Request<Database>;
}

/** A store that can forget all results at once. */
export interface ClearableStore extends Store {
  /** Removes the results of all scopes, for example at a logout, after the client was closed. */
  clear(): Promise<void>;
}

const STORE = "results";

const settled = <T>(request: Request<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/**
 * Keeps results in the browser's IndexedDB, so that a reloaded page continues from them.
 * @param name The name of the database.
 */
export function indexedDbStore(name = "tidewire"): ClearableStore {
  let opened: Promise<Database> | undefined;
  const open = () => {
    const { indexedDB } = globalThis as { indexedDB?: Factory }; // other runtimes have none
    if (indexedDB === undefined) return Promise.reject(new TypeError("no IndexedDB is available"));
    const request = indexedDB.open(name);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    return settled(request);
  };
  const run = async <T>(
    mode: "readonly" | "readwrite",
    work: (store: ObjectStore) => Request<T>,
  ): Promise<T> => {
    opened ??= open();
    return settled(work((await opened).transaction(STORE, mode).objectStore(STORE)));
  };
  return {
    load: (key) => run("readonly", (store) => store.get(key)),
    save: async (key, saved) => void (await run("readwrite", (store) => store.put(saved, key))),
    remove: async (key) => void (await run("readwrite", (store) => store.delete(key))),
    clear: async () => void (await run("readwrite", (store) => store.clear())),
  };
}
