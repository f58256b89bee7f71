import type { SentRowStore } from "./sent-row-store.ts";
import type { SinkMessage } from "./target.ts";

/** The parts that the rows of one run work with. */
export interface SentRowsParts {
  readonly name: string;
  /** Grows with each run of the sink. */
  readonly run: number;
  readonly rows: SentRowStore;
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
  readonly failed: (error: unknown) => void;
}

/** The last message of a row. */
interface Last {
  readonly id: string;
  readonly isRemoved: boolean;
}

/** Rows that are kept at most: as many as an aggregate may have. More of them are removed rows whose message waits. */
const ROWS_MAX = 100_000;
/** Rows that are forgotten at a time. */
const FORGET_STEP = 1_000;

/**
 * The rows of an aggregate that the receiver may have. Each start of the sink sends all rows of the result, and reports the
 * others of these as removed: a row may have left the result while no node followed it.
 */
export class SentRows {
  readonly #parts: SentRowsParts;
  readonly #most: number;
  /** By key, the least recently changed one first. The rows of an earlier run have no message here. */
  readonly #rows: Map<string, Last | null>;
  /** Writes to one row must keep their order. */
  #written: Promise<void> = Promise.resolve();

  private constructor(parts: SentRowsParts, keys: readonly string[], most: number) {
    this.#parts = parts;
    this.#most = most;
    this.#rows = new Map(keys.map((key) => [key, null]));
  }

  /** @param most Rows that are kept at most. */
  static async takeOver(parts: SentRowsParts, most = ROWS_MAX): Promise<SentRows> {
    const keys = await parts.answer(() => parts.rows.takeOver(parts.name, parts.run));
    return new SentRows(parts, keys, most);
  }

  get size(): number {
    return this.#rows.size;
  }

  /** The keys of rows that the receiver may have, and that are not among these. */
  others(keys: ReadonlySet<string>): string[] {
    return [...this.#rows.keys()].filter((key) => !keys.has(key));
  }

  /** Settles when the messages may be sent, because the state database knows their rows. */
  async note(messages: readonly SinkMessage[]): Promise<void> {
    const added: string[] = [];
    for (const { id, key, event } of messages) {
      if (!this.#rows.delete(key)) added.push(key);
      this.#rows.set(key, { id, isRemoved: event.type.endsWith(".removed") });
    }
    if (added.length === 0) return;
    const { rows, name, run } = this.#parts;
    await this.#write(() => rows.add(name, run, added));
    if (this.#rows.size > this.#most) this.#forgetSome();
  }

  /** The receiver has accepted a message. A row is forgotten if this was its last one, and has removed it. */
  noteAccepted({ id, key }: SinkMessage): void {
    const last = this.#rows.get(key);
    if (last?.isRemoved === true && last.id === id) this.#forget([key]);
  }

  /** Settles when the state database knows everything that happened so far, or has refused it. */
  saved(): Promise<void> {
    return this.#written;
  }

  /** The messages that remove these rows wait, so they are sent nevertheless, unless the sink is reset. */
  #forgetSome(): void {
    const removed = [...this.#rows].flatMap(([key, last]) => (last?.isRemoved === true ? [key] : []));
    this.#forget(removed.slice(0, this.#rows.size - this.#most + Math.min(FORGET_STEP, this.#most)));
  }

  #forget(keys: readonly string[]): void {
    if (keys.length === 0) return;
    for (const key of keys) this.#rows.delete(key);
    const { rows, name, run, failed } = this.#parts;
    this.#write(() => rows.remove(name, run, keys)).catch(failed);
  }

  #write(write: () => Promise<void>): Promise<void> {
    const written = this.#written.then(() => this.#parts.answer(write));
    this.#written = written.catch(() => {}); // the caller of each write handles its error
    return written;
  }
}
