/**
 * Which of the watched collections the change stream reads now. The set changes between two batches of commits and never
 * within one, so that a batch contains all changes of a collection or none.
 */

/** The namespaces that events are kept for. */
export type Namespaces = Pick<ReadonlySet<string>, "has"> & Iterable<string>;

const NONE: ReadonlySet<string> = new Set();

/** The watched collections, and those that are read. */
export class ReadSet implements Namespaces {
  #all: ReadonlySet<string>;
  /** The collections that are to be read. */
  #wanted: ReadonlySet<string>;
  /** The collections of the stream that is open, or is being opened. */
  #target: ReadonlySet<string>;
  /** The collections whose events are kept. */
  #read: ReadonlySet<string>;
  /** Whether the open stream contains all watched collections, so that it need not be opened again. */
  #containsAll = false;
  /** Whether the stream may change its collections at this moment: it is open, and no commits are on their way to the sink. */
  #isBetween = false;
  /** Grows whenever the stream is no longer the right one. */
  #version = 0;
  #onRead: (() => void)[] = [];
  readonly #onWidened: () => void;

  /** @param onWidened Called when the stream begins to contain a collection that it has left out before. */
  constructor(all: ReadonlySet<string>, onWidened: () => void) {
    this.#all = all;
    this.#wanted = all;
    this.#target = all;
    this.#read = all;
    this.#onWidened = onWidened;
  }

  get all(): ReadonlySet<string> {
    return this.#all;
  }

  /** Identifies the stream that fits now. */
  get version(): number {
    return this.#version;
  }

  has(namespace: string): boolean {
    return this.#read.has(namespace);
  }

  [Symbol.iterator](): Iterator<string> {
    return this.#read[Symbol.iterator]();
  }

  /**
   * Watches these collections from here on, and leaves some of them out.
   * @param onRead Called between two batches, once all later ones contain the collections that are not left out.
   * @returns Whether the stream must be opened again.
   */
  change(all: ReadonlySet<string>, skipped: ReadonlySet<string> = NONE, onRead?: () => void): boolean {
    const hasOtherPipeline = !isEqual(all, this.#all);
    this.#all = all;
    this.#wanted = new Set([...all].filter((namespace) => !skipped.has(namespace)));
    if (onRead !== undefined) this.#onRead.push(onRead);
    if (hasOtherPipeline || !this.#fits) {
      this.#version++;
      return true;
    }
    if (this.#isBetween) this.#apply();
    return false;
  }

  /** @returns The collections for a stream that is opened now. */
  opening(): ReadonlySet<string> {
    this.#isBetween = false;
    this.#containsAll = false;
    this.#target = this.#wanted;
    return this.#target;
  }

  /** The stream is open, and nothing was read from it. */
  opened(containsAll: boolean): void {
    this.#containsAll = containsAll;
    this.accepted();
  }

  /** The stream has answered. */
  arrived(): void {
    this.#isBetween = false;
  }

  /** The sink has accepted the commits of the answer. */
  accepted(): void {
    this.#isBetween = true;
    if (this.#fits) this.#apply();
  }

  get #fits(): boolean {
    return this.#containsAll || isEqual(this.#wanted, this.#target);
  }

  #apply(): void {
    const before = this.#read;
    this.#read = this.#wanted;
    if ([...this.#read].some((namespace) => !before.has(namespace))) this.#onWidened();
    const waiting = this.#onRead;
    this.#onRead = [];
    for (const onRead of waiting) onRead();
  }
}

const isEqual = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean =>
  a === b || (a.size === b.size && [...a].every((namespace) => b.has(namespace)));
