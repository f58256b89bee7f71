/**
 * Keeps the lookup sets of all rules up to date with the change stream. A commit that ends a right withdraws it before
 * any later change is sent, because a user who has left a room must not see its next message. Subscriptions with the
 * same filter share one set, so that a set is read from MongoDB once.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { BsonValue } from "../match/bson-value.ts";
import type { Steps } from "../match/steps.ts";
import { toMongo } from "../match/to-mongo.ts";
import { type GuardParts, noteFault } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { amount } from "../protocol/amount.ts";
import { TidewireError } from "../protocol/errors.ts";
import { byNamespace, type StreamEvent } from "../source/change-event.ts";
import { foundNoServer, isMongoFailure } from "../source/mongo.ts";
import { tookTooLong } from "../source/snapshot-cursor.ts";
import { UNKNOWN } from "./change.ts";
import type { HistoryEntry } from "./history.ts";
import type { Interest } from "./interest.ts";
import { type LookupDelta, type LookupHolder, LookupSet, type LookupSpec } from "./lookup-set.ts";
import { mongoUnavailable } from "./mongo-unavailable.ts";
import type { FeedLimits } from "./options.ts";
import { isLong } from "./pieces.ts";
import { PredicateIndex } from "./predicate-index.ts";
import type { Slices } from "./slices.ts";
import type { SnapshotReader } from "./snapshot-reader.ts";
import type { Timeline } from "./timeline.ts";
import { tooSlow } from "./too-slow.ts";

const ATTEMPTS = 4;
const ATTEMPT_PAUSE_MS = 50;

interface Kept {
  readonly set: LookupSet;
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
   * @throws {TidewireError} `unavailable`; `snapshot-too-large` for more than `limits.lookupValues`.
   */
  async acquire(spec: LookupSpec): Promise<LookupSet> {
    const kept = this.#byKey.get(spec.key) ?? this.#read(spec);
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
    const { lookupValues } = this.#limits;
    try {
      const delta = yield* set.deltaOf(events, lookupValues);
      return delta === UNKNOWN || set.sizeAfter(delta) > lookupValues ? UNKNOWN : delta;
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
    for (const { set } of this.#byKey.values()) values += set.size;
    this.#parts.metrics.lookupSets.set(this.#byKey.size);
    this.#parts.metrics.lookupValues.set(values);
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

  #read(spec: LookupSpec): Kept {
    const set = new LookupSet(spec);
    const kept: Kept = { set, loaded: this.#load(set), isLoaded: false, users: 0, lingersUntilMs: 0 };
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

  /** Reads a set as of the current head of the stream, and applies the commits that arrived during the read. */
  async #load(set: LookupSet): Promise<void> {
    const { database, collectionName: collection, filter } = set.spec;
    const { lookupValues, snapshotTimeMs: maxTimeMs } = this.#limits;
    const { reader, timeline, interest } = this.#parts;
    // Before the first read, because the set is brought forward from there by the commits of the collection.
    const contained = interest.ensure(set.namespace);
    if (contained !== undefined) await contained;
    // One more than the limit, because only an extra document shows that the limit is exceeded.
    const query = { database, collection, filter: toMongo(filter), limit: lookupValues + 1, maxTimeMs };
    for (let attempt = 1; ; attempt++) {
      while (!timeline.isSettled) await timeline.settles;
      const { headTime, headSeq } = timeline;
      try {
        const documents = await reader.readAt(query, headTime);
        if (documents.length > lookupValues) throw tooMany(lookupValues);
        await this.#beginSlices().through(set.loadInSteps(documents, headTime));
        // The read is of `headTime`, so exactly the commits after `headSeq` are missing.
        for (let doneSeq = headSeq; ; ) {
          doneSeq = await this.#applyMissed(set, doneSeq);
          // It is unknown whether a commit that is being delivered now was offered to this set before it was loaded.
          while (!timeline.isSettled) await timeline.settles;
          if (timeline.headSeq <= doneSeq) break;
        }
        if (set.size > lookupValues) throw tooMany(lookupValues);
        const kept = this.#byKey.get(set.spec.key);
        // The order of changes was broken during the read, so the result belongs to no point of the stream.
        if (kept?.set !== set)
          throw new TidewireError("unavailable", "the lookup was lost while it was read: try again");
        kept.isLoaded = true;
        return;
      } catch (error) {
        if (tookTooLong(error)) throw tooSlow("a lookup of the rule", maxTimeMs, error);
        const passes = isMongoFailure(error) && attempt < ATTEMPTS && !foundNoServer(error);
        if (isMongoFailure(error) && !passes) throw mongoUnavailable(error);
        if (!passes) throw error;
        await sleep(ATTEMPT_PAUSE_MS * attempt);
      }
    }
  }
}

const tooMany = (value: number) =>
  new TidewireError(
    "snapshot-too-large",
    `a lookup of the rule finds more than ${amount(value, "document or value", "documents or values")}`,
    {
      limit: "lookupValues",
      value,
    },
  );
