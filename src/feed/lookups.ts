/**
 * Keeps the lookup sets of all rules up to date with the change stream. A commit that ends a right withdraws it before
 * any later change is sent, because a user who has left a room must not see its next message. Subscriptions with the
 * same filter share one set, so that a set is read from MongoDB once.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { BsonValue } from "../match/bson-value.ts";
import { filterPaths } from "../match/filter-paths.ts";
import type { Steps } from "../match/steps.ts";
import { toMongo } from "../match/to-mongo.ts";
import { type GuardParts, noteFault } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { amount } from "../protocol/amount.ts";
import { TidewireError } from "../protocol/errors.ts";
import { byNamespace, type StreamEvent } from "../source/change-event.ts";
import { foundNoServer, isMongoFailure } from "../source/mongo.ts";
import { type SnapshotQuery, tookTooLong } from "../source/snapshot-cursor.ts";
import { UNKNOWN } from "./change.ts";
import type { HistoryEntry } from "./history.ts";
import type { Interest } from "./interest.ts";
import { type LookupDelta, type LookupHolder, LookupSet, type LookupSpec } from "./lookup-set.ts";
import { mongoUnavailable } from "./mongo-unavailable.ts";
import type { FeedLimits } from "./options.ts";
import { isLong } from "./pieces.ts";
import { PredicateIndex } from "./predicate-index.ts";
import { bytesIn } from "./read-window.ts";
import type { Slices } from "./slices.ts";
import type { SnapshotReader } from "./snapshot-reader.ts";
import type { SnapshotStore } from "./snapshot-store.ts";
import type { Timeline } from "./timeline.ts";
import { tooSlow } from "./too-slow.ts";
import { type Payer, Turn } from "./turn.ts";

const ATTEMPTS = 4;
const ATTEMPT_PAUSE_MS = 50;

interface Kept {
  readonly set: LookupSet;
  /** The users who wait for the read of the set. */
  readonly turn: Turn;
  /** Settles when the set is up to date with the stream; rejects if it cannot be read. */
  readonly loaded: Promise<void>;
  isLoaded: boolean;
  users: number;
  /**
   * How long a set without users is kept, because a page that is loaded again needs the same set. Epoch milliseconds.
   */
  lingersUntilMs: number;
}

/** The parts that `Lookups` uses. */
export interface LookupsParts extends GuardParts {
  readonly reader: Pick<SnapshotReader, "readAt">;
  /** The read of a set waits for a turn like a snapshot, because many users who come at once cost the database the same. */
  readonly snapshots: Pick<SnapshotStore, "runShared">;
  readonly timeline: Timeline;
  readonly interest: Pick<Interest, "ensure">;
  readonly metrics: Metrics;
  readonly newSlices: () => Slices;
}

/** All lookup sets in use. There is one for each distinct filter, whatever the number of its subscriptions. */
export class Lookups {
  readonly #limits: FeedLimits;
  readonly #parts: LookupsParts;
  readonly #byKey = new Map<string, Kept>();
  /** Finds the sets that a commit may change, so that most commits cost nothing here. */
  readonly #byNamespace = new Map<string, PredicateIndex<Kept>>();

  constructor(limits: FeedLimits, parts: LookupsParts) {
    this.#limits = limits;
    this.#parts = parts;
  }

  get size(): number {
    return this.#byKey.size;
  }

  /**
   * Gets a set that is up to date with the stream. `release` it when done.
   * @param payer The user who needs it. If it must be read, the read waits in this user's queue.
   * @throws {TidewireError} `unavailable`; `snapshot-too-large` for more than `limits.lookupValues` or
   *   `limits.lookupBytes`.
   */
  async acquire(spec: LookupSpec, payer: Payer = null): Promise<LookupSet> {
    const known = this.#byKey.get(spec.key);
    const kept = known ?? this.#read(spec, new Turn(payer));
    if (known?.isLoaded === false) known.turn.join(payer);
    kept.users++;
    try {
      await kept.loaded;
      return kept.set;
    } catch (error) {
      this.release(kept.set);
      throw error;
    }
  }

  /**
   * Gets sets that have been read already. `release` each when done. If one has not been read, the result is `null`,
   * and none is held.
   */
  acquireAtOnce(specs: readonly LookupSpec[]): readonly LookupSet[] | null {
    const found = specs.map(({ key }) => this.#byKey.get(key));
    // All sets or none, because the rights cannot be decided with some of them.
    if (!found.every((kept) => kept?.isLoaded === true)) return null;
    return found.flatMap((kept) => {
      if (kept === undefined) return [];
      kept.users++;
      return [kept.set];
    });
  }

  /** The current values of a set; `null` if it has not been read. Starts no read. */
  peek(key: string): readonly BsonValue[] | null {
    const kept = this.#byKey.get(key);
    return kept?.isLoaded ? kept.set.values : null;
  }

  release(set: LookupSet): void {
    const kept = this.#byKey.get(set.spec.key);
    if (kept?.set !== set) return;
    kept.users--;
    kept.lingersUntilMs = Date.now() + this.#limits.lingerMs;
  }

  /** Whether a set still takes commits into account. A set that was lost does not. */
  keeps(set: LookupSet): boolean {
    return this.#byKey.get(set.spec.key)?.set === set;
  }

  /** The collections of the sets that are kept or read. */
  get namespaces(): Iterable<string> {
    return this.#byNamespace.keys();
  }

  /** Whether any set is kept, so that commits must be applied here. */
  get areKept(): boolean {
    return this.#byNamespace.size > 0;
  }

  /**
   * Applies a commit to the sets. All sets change in one turn, so that a rule with several lookups is never judged by
   * some sets before the commit and others after it. The holders of a changed set are notified before anything else
   * reacts to the commit.
   * @param beforeNotifying Runs after the sets have changed and before the first holder is notified.
   */
  *apply(entry: HistoryEntry, beforeNotifying: () => Iterable<void>): Generator<void, void> {
    const found: Array<{ readonly kept: Kept; readonly delta: LookupDelta | typeof UNKNOWN }> = [];
    for (const [namespace, events] of byNamespace(entry.commit.events)) {
      const index = this.#byNamespace.get(namespace);
      if (index === undefined) continue;
      const candidates = isLong(events) ? yield* index.candidatesInSteps(events) : index.candidates(events);
      for (const kept of candidates) {
        // A set that is being read gets the commits since its read from the history, this one included.
        if (!kept.isLoaded) continue;
        found.push({ kept, delta: yield* this.#deltaOf(kept.set, events) });
        yield;
      }
    }
    const changed: LookupSet[] = [];
    for (const { kept, delta } of found) {
      const outcome = delta === UNKNOWN ? UNKNOWN : this.#advance(kept.set, delta, entry.commit.clusterTime);
      if (outcome === UNKNOWN) this.#lose(kept);
      else if (outcome) changed.push(kept.set);
    }
    if (changed.length === 0) return;
    // Changes of earlier commits were found under the old rights, so they are sent before any holder loses these
    // rights.
    yield* beforeNotifying();
    // A holder of several sets is notified once, because it checks all of them.
    const holders = new Set(changed.flatMap((set) => [...set.holders]));
    for (const holder of holders) {
      this.#notify(holder, () => holder.lookupChanged(entry));
      yield;
    }
  }

  /** Computes the effect of a commit on a set. `UNKNOWN` if that is not possible, or if the set becomes too large. */
  *#deltaOf(set: LookupSet, events: readonly StreamEvent[]): Steps<LookupDelta | typeof UNKNOWN> {
    const { lookupValues, lookupBytes } = this.#limits;
    try {
      const delta = yield* set.deltaOf(events, lookupValues);
      if (delta === UNKNOWN) return UNKNOWN;
      const { size, bytes } = set.after(delta);
      return size > lookupValues || bytes > lookupBytes ? UNKNOWN : delta;
    } catch (error) {
      noteFault(this.#parts, "lookup.apply", error);
      return UNKNOWN;
    }
  }

  /**
   * Applies the effect of a commit to a set. If that fails, the content of the set is unknown.
   * @returns Whether the set has changed.
   */
  #advance(set: LookupSet, delta: LookupDelta, clusterTime: bigint): boolean | typeof UNKNOWN {
    try {
      return set.advance(delta, clusterTime);
    } catch (error) {
      noteFault(this.#parts, "lookup.apply", error);
      return UNKNOWN;
    }
  }

  /**
   * Notifies one holder. An error does not affect the others: only this holder loses its subscription, because it can
   * no longer judge its rights.
   */
  #notify(holder: LookupHolder, call: () => void): void {
    try {
      call();
    } catch (error) {
      holder.fail(error);
    }
  }

  /** The order of changes is broken, so the content of every set is unknown. */
  loseAll(): void {
    for (const kept of [...this.#byKey.values()]) this.#lose(kept);
  }

  sweep(nowMs: number): void {
    for (const kept of this.#byKey.values()) {
      if (kept.users === 0 && kept.lingersUntilMs <= nowMs) this.#remove(kept);
    }
    let values = 0;
    let bytes = 0;
    for (const { set } of this.#byKey.values()) {
      values += set.size;
      bytes += set.bytes;
    }
    const { metrics } = this.#parts;
    metrics.lookupSets.set(this.#byKey.size);
    metrics.lookupValues.set(values);
    metrics.lookupBytes.set(bytes);
  }

  #lose(kept: Kept): void {
    this.#remove(kept);
    for (const holder of [...kept.set.holders]) this.#notify(holder, () => holder.lookupLost());
  }

  #add(kept: Kept): void {
    const { spec, namespace } = kept.set;
    this.#byKey.set(spec.key, kept);
    const index = this.#byNamespace.get(namespace) ?? new PredicateIndex();
    this.#byNamespace.set(namespace, index);
    index.add(kept, spec.filter);
  }

  #remove(kept: Kept): void {
    const { spec, namespace } = kept.set;
    if (this.#byKey.get(spec.key) === kept) this.#byKey.delete(spec.key);
    const index = this.#byNamespace.get(namespace);
    index?.remove(kept);
    if (index?.size === 0) this.#byNamespace.delete(namespace);
  }

  #read(spec: LookupSpec, turn: Turn): Kept {
    const set = new LookupSet(spec);
    const loaded = this.#load(set, turn);
    const kept: Kept = { set, turn, loaded, isLoaded: false, users: 0, lingersUntilMs: 0 };
    this.#add(kept);
    // After a failure the next caller reads again. The callers that wait now receive the error from their own promise.
    kept.loaded.then(
      () => {},
      () => this.#remove(kept),
    );
    return kept;
  }

  #beginSlices(): Slices {
    const slices = this.#parts.newSlices();
    slices.begin();
    return slices;
  }

  /**
   * Applies the commits after entry `seq` to a set that is not in use yet, with pauses.
   * @returns The last entry that was applied.
   * @throws {TidewireError} `unavailable` if an event lacks its images, or if the history has evicted the commits.
   */
  async #applyMissed(set: LookupSet, seq: number): Promise<number> {
    const { history } = this.#parts.timeline;
    const entries = history.entriesAfter(seq);
    if (entries === null)
      throw new TidewireError("unavailable", "the lookup took too long to read: try again");
    const last = history.headSeq;
    const slices = this.#beginSlices();
    for (const { commit } of entries) {
      const delta = await slices.through(set.deltaOf(commit.events));
      if (delta === UNKNOWN)
        throw new TidewireError("unavailable", "the lookup changed while it was read: try again");
      set.advance(delta, commit.clusterTime);
      if (slices.isOver()) await slices.pause();
    }
    return last;
  }

  /** Reads the documents of a set as of the current head of the stream, when it is their turn. */
  #readDocuments({ spec }: LookupSet, turn: Turn) {
    const { reader, snapshots, timeline } = this.#parts;
    const { lookupValues, lookupBytes, snapshotTimeMs } = this.#limits;
    const query = queryOf(spec, lookupValues, snapshotTimeMs);
    return snapshots.runShared(turn, async () => {
      while (!timeline.isSettled) await timeline.settles;
      const { headTime, headSeq } = timeline;
      let bytes = 0;
      const documents = await reader.readAt(query, headTime, (batch) => {
        bytes += bytesIn(batch);
        if (bytes > lookupBytes) throw this.#tooLarge("lookupBytes");
      });
      if (documents.length > lookupValues) throw this.#tooLarge("lookupValues");
      return { documents, headTime, headSeq };
    });
  }

  #tooLarge(limit: "lookupValues" | "lookupBytes"): TidewireError {
    this.#parts.metrics.limitHits.inc({ limit, outcome: "refused" });
    const value = this.#limits[limit];
    const most =
      limit === "lookupBytes"
        ? amount(value, "byte")
        : amount(value, "document or value", "documents or values");
    return new TidewireError("snapshot-too-large", `a lookup of the rule finds more than ${most}`, {
      limit,
      value,
    });
  }

  /** Reads a set, and applies the commits that arrived during the read. */
  async #load(set: LookupSet, turn: Turn): Promise<void> {
    const { lookupValues, snapshotTimeMs } = this.#limits;
    const { timeline, interest } = this.#parts;
    // Before the first read, because the set is brought forward from there by the commits of the collection.
    const contained = interest.ensure(set.namespace);
    if (contained !== undefined) await contained;
    for (let attempt = 1; ; attempt++) {
      try {
        const { documents, headTime, headSeq } = await this.#readDocuments(set, turn);
        await this.#beginSlices().through(set.loadInSteps(documents, headTime));
        // The read is of `headTime`, so exactly the commits after `headSeq` are missing.
        for (let doneSeq = headSeq; ; ) {
          doneSeq = await this.#applyMissed(set, doneSeq);
          // It is unknown whether a commit that is being delivered now was offered to this set before it was loaded.
          while (!timeline.isSettled) await timeline.settles;
          if (timeline.headSeq <= doneSeq) break;
        }
        if (set.size > lookupValues) throw this.#tooLarge("lookupValues");
        if (set.bytes > this.#limits.lookupBytes) throw this.#tooLarge("lookupBytes");
        const kept = this.#byKey.get(set.spec.key);
        // The order of changes was broken during the read, so the result belongs to no point of the stream.
        if (kept?.set !== set)
          throw new TidewireError("unavailable", "the lookup was lost while it was read: try again");
        kept.isLoaded = true;
        return;
      } catch (error) {
        if (tookTooLong(error)) throw tooSlow("a lookup of the rule", snapshotTimeMs, error);
        const passes = isMongoFailure(error) && attempt < ATTEMPTS && !foundNoServer(error);
        if (isMongoFailure(error) && !passes) throw mongoUnavailable(error);
        if (!passes) throw error;
        await sleep(ATTEMPT_PAUSE_MS * attempt);
      }
    }
  }
}

/** Reads the fields that decide about a set, because its documents may have others that are large. */
function queryOf(
  { database, collectionName: collection, filter, value }: LookupSpec,
  lookupValues: number,
  maxTimeMs: number,
): SnapshotQuery {
  const fields = [...filterPaths(filter), value].map((path) => path.split(".", 1)[0] ?? path);
  // The server refuses such a name in a projection.
  const isShown = fields.every((field) => !field.startsWith("$"));
  return {
    database,
    collection,
    filter: toMongo(filter),
    ...(isShown ? { projection: Object.fromEntries(fields.map((field) => [field, 1])) } : {}),
    // One more than the limit, because only an extra document shows that the limit is exceeded.
    limit: lookupValues + 1,
    maxTimeMs,
  };
}
