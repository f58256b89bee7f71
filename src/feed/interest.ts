/**
 * Decides which collections the node reads: those with a live query or a lookup, and those that had one recently. The
 * history then has no events of the others. A follower of such a collection begins only after the change stream contains
 * it, and a resumption from before that reads the oplog.
 */
import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import { TidewireError } from "../protocol/errors.ts";
import { type Deferred, deferred } from "./deferred.ts";
import type { Timeline } from "./timeline.ts";

/** Lets the change stream read collections. */
export interface CollectionReader {
  /** `database.collection` of every configured collection. */
  readonly namespaces: readonly string[];
  /**
   * A collection without live query and lookup is left out after this long, in milliseconds; `Infinity` for never. At least
   * as long as the history reaches back, so that a client that was away for less finds its changes there.
   */
  readonly unfollowedAfterMs: number;
  /** See `ChangeSource.watch`. */
  readonly watch: (namespaces: readonly string[], skipped: ReadonlySet<string>, onRead: () => void) => void;
}

/** The parts that `Interest` works with. */
export interface InterestParts {
  readonly timeline: Timeline;
  readonly log: Logger;
  readonly metrics: Pick<Metrics, "collectionsRead">;
}

/** How long a follower waits for the change stream to contain its collection, in milliseconds. */
const READ_TIMEOUT_MS = 10_000;

/** The collections that the change stream reads for this node. */
export class Interest {
  readonly #reader: CollectionReader | null;
  readonly #parts: InterestParts;
  #namespaces: readonly string[];
  #skipped: ReadonlySet<string> = new Set();
  /** Collections that the stream does not contain yet. */
  readonly #opening = new Map<string, Deferred>();
  /** When a collection was last followed, on the monotonic clock. */
  readonly #usedAtMs = new Map<string, number>();
  readonly #startedAtMs = performance.now();

  /** @param reader `null` for a stream that always contains everything. */
  constructor(reader: CollectionReader | null, parts: InterestParts) {
    this.#reader = reader;
    this.#parts = parts;
    this.#namespaces = reader?.namespaces ?? [];
    this.#report();
  }

  /** The configured collections are others from here on. To be called between two batches. */
  watch(namespaces: readonly string[]): void {
    const known = new Set(this.#namespaces);
    const added = namespaces.filter((namespace) => !known.has(namespace));
    this.#namespaces = namespaces;
    this.#skipped = new Set(namespaces.filter((namespace) => this.#skipped.has(namespace)));
    this.#read(added);
  }

  /**
   * Settles when every later batch contains all changes of a collection; `undefined` if that is so now. Snapshots, lookups and
   * resumptions of the collection begin after that.
   * @throws {TidewireError} `unavailable` if MongoDB does not answer in time.
   */
  ensure(namespace: string): Promise<void> | undefined {
    this.#usedAtMs.set(namespace, performance.now());
    if (this.#skipped.has(namespace)) this.#unskip([namespace]);
    const opening = this.#opening.get(namespace);
    return opening === undefined ? undefined : withinLimit(opening.promise);
  }

  /** Reads all collections, as long as this is called again within the pause of `unfollowedAfterMs`. */
  ensureAll(): void {
    const nowMs = performance.now();
    for (const namespace of this.#namespaces) this.#usedAtMs.set(namespace, nowMs);
    if (this.#skipped.size > 0) this.#unskip([...this.#skipped]);
  }

  /**
   * Leaves out the collections that nobody has followed for a while.
   * @param followed The collections that somebody follows now.
   */
  sweep(followed: readonly string[]): void {
    if (this.#reader === null || this.#reader.unfollowedAfterMs === Number.POSITIVE_INFINITY) return;
    const nowMs = performance.now();
    for (const namespace of followed) this.#usedAtMs.set(namespace, nowMs);
    const latestMs = nowMs - this.#reader.unfollowedAfterMs;
    const idle = this.#namespaces.filter(
      (namespace) =>
        !this.#skipped.has(namespace) &&
        !this.#opening.has(namespace) &&
        (this.#usedAtMs.get(namespace) ?? this.#startedAtMs) < latestMs,
    );
    if (idle.length === 0 || !this.#parts.timeline.isReady) return;
    this.#skipped = new Set([...this.#skipped, ...idle]);
    this.#parts.timeline.history.follow(idle, "no-longer");
    this.#parts.log.debug(
      { collections: idle },
      "nobody follows these collections: their changes are not read",
    );
    this.#read([]);
  }

  #unskip(namespaces: readonly string[]): void {
    this.#skipped = new Set([...this.#skipped].filter((namespace) => !namespaces.includes(namespace)));
    this.#parts.log.debug(
      { collections: namespaces },
      "these collections are read again, because somebody follows them",
    );
    this.#read(namespaces);
  }

  /** @param added Collections that the stream has not contained before. */
  #read(added: readonly string[]): void {
    const opening = deferred();
    for (const namespace of added) this.#opening.set(namespace, opening);
    this.#report();
    const onRead = () => {
      const { timeline } = this.#parts;
      // Before the first order of commits begins, there is no history that lacks them.
      if (timeline.isReady) timeline.history.follow(added);
      for (const namespace of added)
        if (this.#opening.get(namespace) === opening) this.#opening.delete(namespace);
      opening.resolve();
    };
    if (this.#reader === null) onRead();
    else this.#reader.watch(this.#namespaces, this.#skipped, onRead);
  }

  #report(): void {
    this.#parts.metrics.collectionsRead.set(this.#namespaces.length - this.#skipped.size);
  }
}

async function withinLimit(opening: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const error = new TidewireError(
      "unavailable",
      "the changes of this collection cannot be read now: try again later",
    );
    timer = setTimeout(() => reject(error), READ_TIMEOUT_MS);
  });
  try {
    await Promise.race([opening, late]);
  } finally {
    clearTimeout(timer);
  }
}
