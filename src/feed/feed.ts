/**
 * The entrance to the live part of the service. It wires the parts of `feed/` together and fixes their order for each
 * commit: state of the service, rights, live queries, then the head advances.
 */
import type { Logger } from "pino";
import { type GuardParts, guarded } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { BatchFacts, BatchSpan, Tracing } from "../metrics/tracing.ts";
import type { StreamEvent } from "../source/change-event.ts";
import type { CommitSink } from "../source/commit-sink.ts";
import type { Deployment } from "../source/deployment.ts";
import type { Epoch } from "../source/epoch-store.ts";
import type { CommitBatch } from "../source/read-commits.ts";
import type { Account } from "./account.ts";
import { CatchUps } from "./catch-ups.ts";
import { EncodedBudget } from "./change-log.ts";
import { ClientCursors } from "./client-cursors.ts";
import type { CommitTraceSlot } from "./commit-trace.ts";
import { Delivery } from "./delivery.ts";
import type { DeliveryParts, DeliveryTerms } from "./delivery-parts.ts";
import { DocumentEncoder } from "./document-encoder.ts";
import type { CollectionObserver, StateFollower } from "./followed-collection.ts";
import { GrantDiffs } from "./grant-diffs.ts";
import { HeldQueries } from "./held-queries.ts";
import { type CollectionReader, Interest } from "./interest.ts";
import { LiveQueries } from "./live-queries.ts";
import type { LiveQuery } from "./live-query.ts";
import type { LiveQuerySpec } from "./live-query-spec.ts";
import type { LiveQueryView } from "./live-query-view.ts";
import { LogBudget } from "./log-budget.ts";
import { Lookups } from "./lookups.ts";
import { OplogReads } from "./oplog-reads.ts";
import type { FeedLimits, HistoryOptions } from "./options.ts";
import { PastReads } from "./past-reads.ts";
import { PublishedHead } from "./published-head.ts";
import type { Sink } from "./sink.ts";
import { type SliceClock, Slices } from "./slices.ts";
import type { SnapshotReader } from "./snapshot-reader.ts";
import { SnapshotStore } from "./snapshot-store.ts";
import { Timeline } from "./timeline.ts";

/** The parts that a feed is built from. Tests replace those that reach the database. */
export interface FeedParts {
  readonly reader: SnapshotReader;
  readonly deployment: Pick<Deployment, "now">;
  /** Reads commits from the oplog, from a cluster time on, inclusive. */
  readonly readOplog: (from: bigint, signal: AbortSignal) => AsyncGenerator<CommitBatch, void, void>;
  /** Default: the stream contains all collections at any time. */
  readonly collections?: CollectionReader;
  /** The age that the position of an idle stream reaches before it advances, in milliseconds. */
  readonly idleAgeMs: number;
  /** MongoDB's clock, in epoch milliseconds. Default: this machine's. */
  readonly serverNowMs?: () => number;
  /** Called when everything that was delivered may be written. Default: nothing. */
  readonly onHandedOut?: () => void;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Makes spans of batches. Default: none. */
  readonly tracing?: Tracing | null;
  /** The clock of commit slices. Default: the system's. */
  readonly sliceClock?: SliceClock;
}

/** The oldest commit of a batch waited longest. */
function factsOf({ commits }: CommitBatch): BatchFacts {
  const events = commits.reduce((sum, commit) => sum + commit.events.length, 0);
  const bytes = commits.reduce((sum, commit) => sum + commit.bytes, 0);
  return { commits: commits.length, events, bytes, writtenAtMs: commits[0]?.wallTimeMs ?? null };
}

/** How often expired state is removed and gauges are set, in milliseconds. */
const SWEEP_INTERVAL_MS = 1_000;

/**
 * Takes each commit once, gives it its position on the timeline, and passes it to the live queries of its collections.
 * Subscriptions join those live queries here.
 */
export class Feed implements CommitSink {
  readonly timeline: Timeline;
  readonly cursors: ClientCursors;
  readonly lookups: Lookups;
  readonly trace: CommitTraceSlot = { observer: null };
  readonly #metrics: Metrics;
  readonly #guard: GuardParts;
  readonly #encoder: DocumentEncoder;
  readonly #budget: EncodedBudget;
  readonly #logBudget: LogBudget;
  readonly #interest: Interest;
  readonly #snapshots: SnapshotStore;
  readonly #slices: Slices;
  readonly #held: HeldQueries<LiveQuery>;
  readonly #liveQueries: LiveQueries;
  readonly #deliveryParts: DeliveryParts;
  /** The service's own collections, by namespace. */
  readonly #stateFollowers: Map<string, StateFollower>;
  /** Receive the events of a collection before its live queries do, by namespace. */
  readonly #observers = new Map<string, (event: StreamEvent) => void>();
  readonly #isState = ({ namespace }: StreamEvent) => this.#stateFollowers.has(namespace);
  readonly #sweeper: NodeJS.Timeout;
  readonly #tracing: Tracing | null;
  /** The span of the batch that is being handed out. No two are at a time. */
  #span: BatchSpan | null = null;
  #sweepIsDue = false;

  constructor(history: HistoryOptions, limits: FeedLimits, parts: FeedParts) {
    const { reader, deployment, log, metrics, serverNowMs = Date.now, onHandedOut = () => {} } = parts;
    const timeline = new Timeline(history, { deployment, metrics });
    const cursors = new ClientCursors(
      timeline,
      new PublishedHead(history.cursorStepMs, parts.idleAgeMs),
      serverNowMs,
    );
    const newSlices = () => new Slices(limits.commitSliceMs, parts.sliceClock);
    const slices = newSlices();
    const encoder = new DocumentEncoder(limits.encodeCacheBytes, parts);
    const budget = new EncodedBudget(history.bytes);
    const logBudget = new LogBudget(history.bytes);
    const ping = () => deployment.now();
    const oplogReads = new OplogReads(limits, { open: parts.readOplog, ping, timeline, metrics, log });
    const catchUps = new CatchUps(oplogReads, { timeline, metrics, log });
    const interest = new Interest(parts.collections ?? null, { timeline, log, metrics });
    const shared = { reader, deployment, timeline, cursors, interest, newSlices, metrics, log };
    const snapshots = new SnapshotStore(limits, shared);
    const pasts = new PastReads(limits, { ...shared, snapshots });
    const lookups = new Lookups(limits, { ...shared, snapshots });
    const stateFollowers = new Map<string, StateFollower>();
    const releaseDue = () => this.#releaseDue();
    const held = new HeldQueries<LiveQuery>(limits.aggregateIntervalMs, parts, releaseDue);
    const liveQueries = new LiveQueries(limits, {
      ...shared,
      slices,
      held,
      encoder,
      budget,
      logBudget,
      lookups,
      snapshots,
      trace: this.trace,
      isOwn: (namespace) => stateFollowers.has(namespace),
      onHandedOut: () => (this.#span === null ? onHandedOut() : this.#span.during("write", onHandedOut)),
    });
    const detached = (spec: LiveQuerySpec) => liveQueries.detached(spec);
    const chargeReading = (account: Account) => liveQueries.chargeReading(account);
    const noteRights = (account: Account, ms: number) => liveQueries.noteRights(account, ms);
    const grants = new GrantDiffs(limits.snapshotDocuments, {
      ...shared,
      snapshots,
      detached,
      chargeReading,
      noteRights,
    });
    this.timeline = timeline;
    this.#interest = interest;
    this.cursors = cursors;
    this.lookups = lookups;
    this.#metrics = metrics;
    this.#guard = parts;
    this.#tracing = parts.tracing ?? null;
    metrics.onScrape("publishedHeadAge", () => metrics.publishedHeadAge.set(cursors.publishedAgeSeconds));
    this.#encoder = encoder;
    this.#budget = budget;
    this.#logBudget = logBudget;
    this.#snapshots = snapshots;
    this.#slices = slices;
    this.#held = held;
    this.#liveQueries = liveQueries;
    this.#deliveryParts = { ...shared, snapshots, pasts, windows: liveQueries, grants, catchUps };
    this.#stateFollowers = stateFollowers;
    this.#sweeper = setInterval(
      guarded(parts, "feed.sweep", () => this.#sweep()),
      SWEEP_INTERVAL_MS,
    ).unref();
  }

  stop(): void {
    clearInterval(this.#sweeper);
    this.#held.stop();
  }

  /**
   * Adds a follower of a collection of the service's own. To be called before the stream begins, which must cover the
   * namespace.
   */
  followState(follower: StateFollower | CollectionObserver): void {
    if (!("observe" in follower)) this.#stateFollowers.set(follower.namespace, follower);
    else {
      const observe = guarded(this.#guard, "feed.observe", (event: StreamEvent) => follower.observe(event));
      this.#observers.set(follower.namespace, observe);
    }
  }

  /** The configured collections are others from now on. To be called between two batches. */
  watch(namespaces: readonly string[]): void {
    this.#interest.watch(namespaces);
  }

  lost(): void {
    for (const follower of this.#stateFollowers.values()) follower.lose();
  }

  async prepare(clusterTime: bigint): Promise<void> {
    for (const follower of this.#stateFollowers.values()) await follower.prepare(clusterTime);
  }

  async begin(epoch: Epoch, from: bigint): Promise<void> {
    await this.timeline.handOut(() => {
      this.timeline.begin(epoch, from);
      this.#snapshots.clear();
      this.#liveQueries.forgetAll();
      this.lookups.loseAll();
      return this.#slices.run(this.#liveQueries.startOverAll());
    });
    this.timeline.advances.announce();
  }

  /** Takes a batch of commits. Settles when every live query has processed it. The next batch must wait for that. */
  async accept(batch: CommitBatch): Promise<void> {
    const span = batch.commits.length === 0 ? null : (this.#tracing?.sample(factsOf(batch)) ?? null);
    if (span === null) return this.#accept(batch, null);
    const deliveredBefore = this.#metrics.deliveriesMade.total;
    try {
      await span.within(() => this.#accept(batch, span));
      span.end(this.#metrics.deliveriesMade.total - deliveredBefore);
    } catch (error) {
      // The hand-out may have ended in the middle, and later writes are not part of this batch.
      this.#span = null;
      span.fail(error);
      throw error;
    }
  }

  async #accept(batch: CommitBatch, span: BatchSpan | null): Promise<void> {
    span?.at("order");
    this.trace.observer?.received();
    const endTimer = batch.commits.length > 0 ? this.#metrics.acceptTime.startTimer() : undefined;
    const { deliveriesMade } = this.#metrics;
    const deliveredBefore = deliveriesMade.total;
    for (const follower of this.#stateFollowers.values()) {
      const ready = follower.ready(batch.commits);
      if (ready !== undefined) await ready;
    }
    const rest = this.timeline.handOut(() => this.#slices.run(this.#handOut(batch, span)));
    // Usually all work was done in this turn, and no other code has seen an unsettled timeline.
    if (rest !== undefined) await rest;
    if (this.#sweepIsDue) this.#sweep();
    this.timeline.advances.announce();
    endTimer?.();
    // While a node catches up after its start, it delivers nothing, and the age of old writes would distort the metric.
    if (deliveriesMade.total > deliveredBefore) this.#noteLag(batch);
  }

  /** Delivers the rows that have been held back for long enough, as if their commits arrived now. */
  async #releaseDue(): Promise<void> {
    const rest = this.timeline.handOut(() => this.#slices.run(this.#liveQueries.dispatch.flushDue()));
    if (rest === undefined) return;
    await rest;
    this.timeline.advances.announce();
  }

  #noteLag({ commits }: CommitBatch): void {
    const wallTimeMs = commits.at(-1)?.wallTimeMs ?? null;
    if (wallTimeMs !== null) this.#metrics.deliveryLag.observe(Math.max(0, Date.now() - wallTimeMs) / 1_000);
  }

  *#handOut(batch: CommitBatch, span: BatchSpan | null): Generator<void, void> {
    const { timeline } = this;
    span?.at("match");
    this.#span = span;
    for (const commit of batch.commits) {
      const entry = timeline.append(commit);
      // The changes found so far were allowed under the state before this commit, so they are written first.
      if (commit.events.some(this.#isState)) yield* this.#liveQueries.dispatch.flushAll();
      if (this.#observers.size > 0)
        for (const event of commit.events) this.#observers.get(event.namespace)?.(event);
      // Documents of the service's own collections take effect before anything else processes their commit.
      for (const follower of this.#stateFollowers.values()) {
        follower.apply(commit, () => {});
        const effect = follower.takeEffect(entry);
        if (effect !== null) yield* effect;
      }
      yield* this.#liveQueries.dispatch.apply(entry);
    }
    span?.at("encode");
    yield* this.#liveQueries.dispatch.flush();
    this.#span = null;
    timeline.advance(batch.through);
    this.#logBudget.trim(timeline.headSeq);
    this.#encoder.forget();
  }

  /**
   * Runs work between two batches of commits. No commit is delivered while the work pauses by the slices that it
   * receives.
   */
  async exclusively(work: (slices: Slices) => Promise<void> | undefined): Promise<void> {
    await this.timeline.exclusively(() => work(this.#slices));
  }

  /**
   * Checks the limits of a user.
   * @throws {TidewireError} `too-many-subscriptions` if the user may not follow one more live query.
   */
  admit(spec: Pick<LiveQuerySpec, "key" | "filter" | "sort">, account: Account): void {
    this.#liveQueries.admit(spec, account);
  }

  /**
   * Joins a sink to the live query of this specification, which is created if it does not exist. Nothing is written
   * before `open` and `run` of the delivery. It ends with `unsubscribe`. No limit is checked here (see `admit`),
   * because a change of rights moves a subscription to another live query, however many its user has.
   */
  subscribe(spec: LiveQuerySpec, sink: Sink, terms: DeliveryTerms): Delivery {
    const liveQuery = this.#liveQueries.obtain(spec);
    const { wantsSnapshot, rights, account } = terms;
    // Written out: V8 would give an object that begins with a spread a hidden class of its own for each subscription.
    const delivery = new Delivery({
      wantsSnapshot,
      rights,
      account,
      parts: this.#deliveryParts,
      liveQuery,
      sink,
    });
    this.#liveQueries.join(delivery);
    return delivery;
  }

  unsubscribe(delivery: Delivery): void {
    delivery.close();
    this.#liveQueries.leave(delivery, Date.now());
  }

  /**
   * Charges a decision about rights to its user.
   * @param ms How long it took, in milliseconds.
   */
  noteRights(account: Account, ms: number): void {
    this.#liveQueries.noteRights(account, ms);
  }

  /**
   * Each live query as an admin sees it.
   * @param only The number of the only one that is wanted; it may have ended.
   */
  views(only?: number): Iterable<LiveQueryView> {
    return this.#liveQueries.views(only);
  }

  /** The live queries of a collection. */
  *liveQueriesOf(namespace: string): Generator<LiveQuery, void> {
    for (const liveQuery of this.#liveQueries) if (liveQuery.namespace === namespace) yield liveQuery;
  }

  /** The live query with a number of this node, or with a key. */
  liveQueryBy(name: number | string): LiveQuery | undefined {
    return typeof name === "number" ? this.#liveQueries.byNumber(name) : this.#liveQueries.get(name);
  }

  get liveQueries(): number {
    return this.#liveQueries.size;
  }

  #sweep(): void {
    // While changes are on their way to followers, their log entries must stay.
    this.#sweepIsDue = !this.timeline.isSettled;
    if (this.#sweepIsDue) return;
    const now = Date.now();
    this.#sweepInterest();
    this.#liveQueries.sweep(now);
    this.#logBudget.prune();
    if (this.timeline.isReady) this.#logBudget.trim(this.timeline.headSeq);
    this.#snapshots.sweep();
    this.lookups.sweep(now);
    for (const follower of this.#stateFollowers.values()) follower.sweep(now);
    this.#metrics.encodedBytes.set(this.#budget.usedBytes);
    this.#metrics.encodeCacheBytes.set(this.#encoder.heldBytes);
    this.#metrics.changeLogBytes.set(this.#logBudget.usedBytes);
  }

  #sweepInterest(): void {
    // An admin who traces a document sees its changes, whether somebody follows the collection or not.
    if (this.trace.observer !== null) this.#interest.ensureAll();
    const { namespaces } = this.#liveQueries.dispatch;
    this.#interest.sweep([...namespaces, ...this.lookups.namespaces, ...this.#observers.keys()]);
  }
}
