/**
 * Keeps results over page loads. A reloaded page shows the last known documents at once and resumes from their cursor,
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

  /** @param prefix Of the keys of queries: another service, or another value mode, has results of its own. */
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
