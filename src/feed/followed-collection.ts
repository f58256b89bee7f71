/**
 * Follows a small collection of the service's own, such as the revocations, in memory. Its documents decide who may
 * connect, so the follower must know at every moment whether its copy is complete, and report when it is not.
 */
import type { Document } from "mongodb";
import type { Logger } from "pino";
import { valueKey } from "../match/value-key.ts";
import type { Commit, StreamEvent } from "../source/change-event.ts";
import { idOf } from "./change.ts";
import type { HistoryEntry } from "./history.ts";
import type { SnapshotReader } from "./snapshot-reader.ts";

/** A collection of the service's own whose documents take effect at their commit, at the same point on every node. */
export interface StateFollower {
  /** `database.collection`. */
  readonly namespace: string;
  /** The order of commits was broken. The entries count as unknown until the collection has been read again. */
  lose(): void;
  /**
   * Reads the collection as of `clusterTime` or later. No commit of the new order is accepted before.
   * @throws The server's error.
   */
  prepare(clusterTime: bigint): Promise<void>;
  /**
   * Takes a commit into account, in one turn and before other parts process it.
   * @param beforeNotifying Called before the listener, if the commit concerns this collection.
   */
  apply(commit: Commit, beforeNotifying: () => void): void;
  /**
   * Settles when commits can be applied without waiting; `undefined` if that is now. No part has processed them yet.
   * Never rejects.
   */
  ready(commits: readonly Commit[]): Promise<void> | undefined;
  /**
   * The effect of a commit on clients, after `apply`. It may pause with each `yield`. `null` for a commit without an effect,
   * as nearly all are: every commit of every collection is asked.
   */
  takeEffect(entry: HistoryEntry): Iterable<void> | null;
  sweep(nowMs: number): void;
}

/** Receives the events of a collection before its live queries do. The collection is read, whether somebody follows it or not. */
export interface CollectionObserver {
  /** `database.collection`. */
  readonly namespace: string;
  observe(event: StreamEvent): void;
}

/** The definition of a followed collection: which documents are read, how many, and how they are parsed. */
export interface FollowedSpec<T> {
  readonly database: string;
  readonly collection: string;
  /** The filter of the documents that are read. */
  readonly filter: (nowMs: number) => Document;
  /** Limit of the documents' total size, in bytes. */
  readonly maxBytes: number;
  /**
   * Parses a document.
   * @throws {Error} The document is not understood.
   */
  readonly parse: (document: Uint8Array) => T;
  /** From when on an entry has no effect, in epoch milliseconds. */
  readonly expiresAtMs: (entry: T) => number;
}

/** Why the entries are unknown: never read or to be read again, too many, or one that is not understood. */
export type Uncertainty = "unread" | "too-large" | "not-understood";

/** Acts on the entries. All calls are synchronous. */
export interface FollowedListener<T> {
  /** An entry takes effect at its commit. Also called while the entries are unknown. */
  entered(entry: T): void;
  left(entry: T): void;
  /** These are all entries, and the follower knows all changes from here on. */
  reloaded(entries: readonly T[]): void;
  /** Some or all entries are unknown from now on. The follower still receives new ones. */
  uncertain(why: Uncertainty): void;
  /** Some entries cannot be enforced, because they do not fit or are not understood. */
  unenforceable(): void;
  /** Reports the size, for metrics. */
  measured(entries: number, bytes: number): void;
}

interface Kept<T> {
  readonly entry: T;
  readonly bytes: number;
}

/** The whole collection at one cluster time. */
interface Read<T> {
  readonly kept: Map<string, Kept<T>>;
  readonly bytes: number;
  readonly at: bigint;
  /** Why these are not all entries; `null` if they are. */
  readonly why: Uncertainty | null;
}

/** Pause after a failed read, in milliseconds. */
const RETRY_MS = 1_000;
/** How long MongoDB may work on reading the collection before the read is repeated, in milliseconds. */
const READ_MS = 60_000;
/** Pause if the entries do not fit or are not understood, in milliseconds. These faults mostly need an admin. */
const RETRY_SLOWLY_MS = 10_000;

/**
 * Keeps the entries of one collection: reads it completely at one cluster time, and follows it through the change
 * stream from there. Its documents are only ever inserted, replaced and deleted, so each event is complete without
 * images.
 */
export class FollowedCollection<T> implements StateFollower {
  readonly namespace: string;
  readonly #spec: FollowedSpec<T>;
  readonly #listener: FollowedListener<T>;
  readonly #reader: Pick<SnapshotReader, "open">;
  readonly #log: Logger;
  #state: "known" | Uncertainty = "unread";
  #kept = new Map<string, Kept<T>>();
  #bytes = 0;
  /** The entries contain every commit up to this cluster time. The stream may still deliver earlier ones. */
  #readAt = 0n;
  /** The latest cluster time at which a commit was applied. A read must not be older. */
  #headTime = 0n;
  /** Commits that arrived while the collection was being read. */
  #pending: Commit[] | null = null;
  /** Grows whenever a read in progress has become void. */
  #generation = 0;
  #retryAtMs = Number.POSITIVE_INFINITY;

  constructor(
    spec: FollowedSpec<T>,
    parts: { readonly reader: Pick<SnapshotReader, "open">; readonly log: Logger },
    listener: FollowedListener<T>,
  ) {
    this.#spec = spec;
    this.namespace = `${spec.database}.${spec.collection}`;
    this.#reader = parts.reader;
    this.#log = parts.log;
    this.#listener = listener;
  }

  lose(): void {
    this.#generation++;
    this.#pending = null;
    this.#becomeUncertain("unread");
    // `prepare` reads the collection, and is repeated after a failure.
    this.#retryAtMs = Number.POSITIVE_INFINITY;
  }

  async prepare(clusterTime: bigint): Promise<void> {
    this.lose();
    this.#headTime = clusterTime;
    await this.#read();
  }

  apply(commit: Commit, beforeNotifying: () => void): void {
    this.#headTime = commit.clusterTime;
    if (!commit.events.some(({ namespace }) => namespace === this.namespace)) return;
    this.#pending?.push(commit);
    if (commit.clusterTime <= this.#readAt) return;
    beforeNotifying();
    for (const event of commit.events) if (event.namespace === this.namespace) this.#take(event);
    this.#measure();
  }

  ready(): undefined {
    return undefined; // the documents are small, and parsed when they are applied
  }

  takeEffect(): null {
    return null; // `apply` has notified the listener
  }

  sweep(nowMs: number): void {
    for (const [key, { entry }] of this.#kept) if (this.#spec.expiresAtMs(entry) <= nowMs) this.#remove(key);
    this.#measure();
    if (this.#state === "known" || this.#pending !== null || nowMs < this.#retryAtMs) return;
    this.#read().catch((error: unknown) => {
      this.#retryAtMs = Date.now() + RETRY_MS;
      this.#log.warn(
        { err: error, namespace: this.namespace },
        "a collection of the service could not be read",
      );
    });
  }

  #take(event: StreamEvent): void {
    if (event.operation === "replaced-collection") {
      this.#becomeUncertain("unread");
      return;
    }
    if (event.operation === "delete") {
      this.#remove(valueKey(idOf(event.documentKey)));
      return;
    }
    // Another program has updated single fields, and the document could not be read as of that time.
    if (event.after === undefined) this.#becomeUncertain("unread");
    else this.#put(event.after);
  }

  #put(document: Uint8Array): void {
    const key = valueKey(idOf(document));
    this.#remove(key);
    let entry: T;
    try {
      entry = this.#spec.parse(document);
    } catch (error) {
      this.#notUnderstood(error, key);
      return;
    }
    if (this.#spec.expiresAtMs(entry) <= Date.now()) return;
    // The entry still takes effect now. It is the copy that is no longer complete.
    if (this.#bytes + document.length > this.#spec.maxBytes) this.#becomeUncertain("too-large");
    else this.#keep(key, { entry, bytes: document.length });
    this.#listener.entered(entry);
  }

  #keep(key: string, kept: Kept<T>): void {
    this.#kept.set(key, kept);
    this.#bytes += kept.bytes;
  }

  #remove(key: string): void {
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    this.#kept.delete(key);
    this.#bytes -= kept.bytes;
    this.#listener.left(kept.entry);
  }

  #noteNotUnderstood(error: unknown, key: string): void {
    this.#log.error(
      { err: error, namespace: this.namespace, _id: key },
      "a document of the service's own collections is not valid: a newer version wrote it, or it was edited by hand",
    );
  }

  #notUnderstood(error: unknown, key: string): void {
    this.#noteNotUnderstood(error, key);
    this.#becomeUncertain("not-understood");
    this.#listener.unenforceable();
  }

  #becomeUncertain(why: Uncertainty): void {
    this.#retryAtMs = Date.now() + (why === "unread" ? 0 : RETRY_SLOWLY_MS);
    if (this.#state === why) return;
    this.#state = why;
    this.#listener.uncertain(why);
  }

  /**
   * Reads the collection, and applies the commits that arrived meanwhile.
   * @throws The server's error.
   */
  async #read(): Promise<void> {
    const generation = ++this.#generation;
    this.#pending = [];
    try {
      const read = await this.#readAll();
      if (generation !== this.#generation) return;
      const pending = this.#pending;
      this.#pending = null;
      this.#replace(read, pending);
    } finally {
      if (generation === this.#generation) this.#pending = null;
    }
  }

  #replace(read: Read<T>, pending: readonly Commit[]): void {
    this.#kept = read.kept;
    this.#bytes = read.bytes;
    this.#readAt = read.at;
    if (read.why !== null) {
      this.#becomeUncertain(read.why);
      this.#listener.unenforceable();
      return;
    }
    this.#state = "known";
    this.#listener.reloaded([...read.kept.values()].map(({ entry }) => entry));
    for (const commit of pending) this.apply(commit, () => {});
    this.#measure();
  }

  async #readAll(): Promise<Read<T>> {
    const { database, collection, filter, maxBytes, parse } = this.#spec;
    const query = { database, collection, filter: filter(Date.now()), maxTimeMs: READ_MS };
    const cursor = await this.#reader.open(query, this.#headTime);
    const kept = new Map<string, Kept<T>>();
    let bytes = 0;
    let why: Uncertainty | null = null;
    try {
      for (let batch = await cursor.next(); batch.length > 0; batch = await cursor.next()) {
        for (const document of batch) {
          bytes += document.length;
          if (bytes > maxBytes)
            return { kept: new Map(), bytes: 0, at: cursor.clusterTime, why: "too-large" };
          const key = valueKey(idOf(document));
          try {
            kept.set(key, { entry: parse(document), bytes: document.length });
          } catch (error) {
            this.#noteNotUnderstood(error, key);
            why = "not-understood";
          }
        }
      }
    } finally {
      cursor.close();
    }
    return { kept, bytes, at: cursor.clusterTime, why };
  }

  #measure(): void {
    this.#listener.measured(this.#kept.size, this.#bytes);
  }
}
