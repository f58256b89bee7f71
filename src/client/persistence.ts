/**
 * Keeps results over page loads. Few pages do, so that bundlers put this into a file that only those pages fetch. A reloaded page shows the last known documents at once and resumes from their cursor,
 * so it needs no snapshot. Every failure of the store is survived, because the service has all the data.
 */
import type { Doc } from "./result-set.ts";

/** The kept part of a query, from which a reloaded page continues. */
export interface Saved {
  readonly docs: readonly Doc[];
  readonly cursor: string;
  readonly ticket: string;
}

/** The place where results are kept. If it fails, it counts as empty, and everything is read from the service. */
export interface Store {
  load(key: string): Promise<Saved | undefined>;
  save(key: string, saved: Saved): Promise<void>;
  remove(key: string): Promise<void>;
}

/** A store that can forget all results at once. */
export interface ClearableStore extends Store {
  /** Removes the results of all scopes, for example at a logout, after the client was closed. */
  clear(): Promise<void>;
}

/** Where results are kept, and for whom. */
export interface PersistOptions {
  readonly store: Store;
  /**
   * The owner of the data, for example the user's id. A result that was kept under one scope is never shown under
   * another, not even until the service has answered.
   */
  readonly scope: string;
  /** The shortest time between two writes, in milliseconds. Default: 1000. */
  readonly intervalMs?: number;
}

/** The part of a result that is kept. */
interface Kept {
  readonly key: string;
  readonly resumePoint: { readonly cursor: string; readonly ticket: string } | undefined;
  readonly view: { readonly list: readonly Doc[] };
}

const INTERVAL_MS = 1_000;

/** Keeps results in a store. Results are written together, and not at every change. */
export class Persistence {
  readonly #options: PersistOptions;
  readonly #prefix: string;
  readonly #moved = new Set<Kept>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param prefix Distinguishes the services and value modes of an owner. */
  constructor(options: PersistOptions, prefix: string) {
    this.#options = options;
    this.#prefix = prefix;
  }

  async load({ key }: Pick<Kept, "key">): Promise<Saved | undefined> {
    try {
      return await this.#options.store.load(this.#keyOf(key));
    } catch {
      return undefined; // a failing store counts as empty
    }
  }

  moved(result: Kept): void {
    this.#moved.add(result);
    this.#timer ??= setTimeout(() => this.flush(), this.#options.intervalMs ?? INTERVAL_MS);
  }

  remove(result: Kept): void {
    this.#moved.delete(result);
    // A copy that cannot be removed does no harm, because the service rejects it by its ticket.
    this.#options.store.remove(this.#keyOf(result.key)).catch(() => {});
  }

  /** Writes the changed results. An incomplete result waits until it is complete. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const result of this.#moved) {
      const { resumePoint, key, view } = result;
      if (resumePoint === undefined) continue;
      const saved = { docs: view.list, ...resumePoint };
      // The next write may succeed. Until then the service sends the missing changes again.
      this.#options.store.save(this.#keyOf(key), saved).catch(() => {});
    }
    this.#moved.clear();
  }

  #keyOf(key: string): string {
    return JSON.stringify([this.#options.scope, this.#prefix + key]);
  }
}

/** The parts of IndexedDB that are used. The types of browsers are unknown here. */
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

const STORE = "results";

const settled = <T>(request: Request<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** The store in the database with this name. */
export function openIndexedDb(name: string): ClearableStore {
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
