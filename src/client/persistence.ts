import type { Doc } from "./result-set.ts";

/** The kept part of a query, from which a reload goes on. */
export interface Saved {
  readonly docs: readonly Doc[];
  readonly cursor: string;
  readonly ticket: string;
}

/** Where results are kept. A store that fails counts as empty: everything comes from the service then. */
export interface Store {
  load(key: string): Promise<Saved | undefined>;
  save(key: string, saved: Saved): Promise<void>;
  remove(key: string): Promise<void>;
}

/** Where results are kept, and which of them. */
export interface PersistOptions {
  readonly store: Store;
  /**
   * Whose data it is: the user's id, say. A result that was kept under one scope is never shown under another, not even
   * for the moment until the service has answered.
   */
  readonly scope: string;
  /** Results are written at most so often, in milliseconds; 1000 unless told. */
  readonly intervalMs?: number;
}

/** The part of a result that is kept. */
interface Kept {
  readonly key: string;
  readonly resumePoint: { readonly cursor: string; readonly ticket: string } | undefined;
  readonly view: { readonly list: readonly Doc[] };
}

const INTERVAL_MS = 1_000;

/** Keeps results in a store: together, and not at every change. */
export class Persistence {
  readonly #options: PersistOptions;
  readonly #moved = new Set<Kept>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: PersistOptions) {
    this.#options = options;
  }

  async load({ key }: Pick<Kept, "key">): Promise<Saved | undefined> {
    try {
      return await this.#options.store.load(this.#keyOf(key));
    } catch {
      return undefined; // as if nothing had been kept
    }
  }

  moved(result: Kept): void {
    this.#moved.add(result);
    this.#timer ??= setTimeout(() => this.flush(), this.#options.intervalMs ?? INTERVAL_MS);
  }

  remove(result: Kept): void {
    this.#moved.delete(result);
    // The service recognizes by the ticket a result that is left behind.
    this.#options.store.remove(this.#keyOf(result.key)).catch(() => {});
  }

  /** Writes what has changed since. A result that is incomplete waits until it is whole. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const result of this.#moved) {
      const { resumePoint, key, view } = result;
      if (resumePoint === undefined) continue;
      const saved = { docs: view.list, ...resumePoint };
      // The next one may succeed; until then the service makes up for it.
      this.#options.store.save(this.#keyOf(key), saved).catch(() => {});
    }
    this.#moved.clear();
  }

  #keyOf(key: string): string {
    return JSON.stringify([this.#options.scope, key]);
  }
}
