/** Entries that are new or have changed. */
interface LogPage<Recorded> {
  readonly entries: readonly Recorded[];
  /** The version after which the next page begins. */
  readonly version: number;
  readonly hasMore: boolean;
}

/** Keeps the latest entries of a trace. A reader receives those that are new or have changed since its last read. */
export class TraceLog<Recorded extends object> {
  readonly #max: number;
  /** By the version of the last change, in the order of arrival. */
  readonly #entries = new Map<Recorded, number>();
  #version = 0;
  #dropped = 0;
  readonly #onDropped: (entry: Recorded) => void;

  /** @param max How many entries are kept. */
  constructor(max: number, onDropped: (entry: Recorded) => void) {
    this.#max = max;
    this.#onDropped = onDropped;
  }

  /** Entries that newer ones have replaced. */
  get dropped(): number {
    return this.#dropped;
  }

  add(entry: Recorded): void {
    this.#entries.set(entry, ++this.#version);
    if (this.#entries.size <= this.#max) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      this.#dropped++;
      this.#onDropped(oldest);
      return;
    }
  }

  /** The entry has changed. */
  touch(entry: Recorded): void {
    if (this.#entries.has(entry)) this.#entries.set(entry, ++this.#version);
  }

  /** Up to `limit` entries that have changed after a version, the earliest change first, and the version of the last. */
  since(version: number, limit: number): LogPage<Recorded> {
    const changed = [...this.#entries].filter(([, at]) => at > version).sort(([, a], [, b]) => a - b);
    const page = changed.slice(0, limit);
    return {
      entries: page.map(([entry]) => entry),
      version: page.at(-1)?.[1] ?? this.#version,
      hasMore: changed.length > page.length,
    };
  }
}
