/**
 * Owns the live queries of this node: creates, shares, limits and removes them. A removed live query must disappear
 * from every index at once, so all of them are updated in `#remove`.
 */
import { queryWork } from "../match/filter-work.ts";
import { SparseLog } from "../metrics/sparse-log.ts";
import type { Account, OnLimit } from "./account.ts";
import type { Delivery } from "./delivery.ts";
import { Dispatch, type DispatchParts } from "./dispatch.ts";
import { Holdings } from "./holdings.ts";
import type { LackingRead } from "./kept-result.ts";
import { leastBusy } from "./least-busy.ts";
import { LiveQuery, type LiveQueryParts } from "./live-query.ts";
import type { LiveQuerySpec } from "./live-query-spec.ts";
import type { LiveQueryView } from "./live-query-view.ts";
import type { FeedLimits } from "./options.ts";
import { bytesIn } from "./read-window.ts";
import type { ReadingCharge, WindowAdmission } from "./reading-charge.ts";
import type { SnapshotReader } from "./snapshot-reader.ts";
import type { SnapshotStore } from "./snapshot-store.ts";
import type { Timeline } from "./timeline.ts";
import { Turn } from "./turn.ts";
import { WindowBudget } from "./window-budget.ts";
import { WorkMeter } from "./work-meter.ts";

/** The parts that all live queries share. */
type SharedParts = Pick<LiveQueryParts, "encoder" | "budget" | "logBudget" | "newSlices">;

/** The parts that `LiveQueries` works with. */
export interface LiveQueriesParts extends Omit<DispatchParts, "onFailed" | "work">, SharedParts {
  readonly timeline: Timeline;
  readonly reader: Pick<SnapshotReader, "readAt">;
  /** Drops the snapshots of a live query that is removed. Reads of results wait for a turn like snapshots. */
  readonly snapshots: Pick<SnapshotStore, "drop" | "runShared">;
}

/**
 * The live queries of this node by key. Each is created for its first subscriber, and counts against the budgets of its
 * users.
 */
export class LiveQueries implements WindowAdmission {
  readonly dispatch: Dispatch;
  readonly #parts: LiveQueriesParts;
  readonly #shared: LiveQueryParts;
  readonly #byKey = new Map<string, LiveQuery>();
  /** The same ones, for admins, who name a live query by its number. */
  readonly #byNumber = new Map<number, LiveQuery>();
  readonly #holdings: Holdings;
  readonly #windows: WindowBudget;
  readonly #work: WorkMeter;
  #nextNumber = 1;

  constructor(limits: FeedLimits, parts: LiveQueriesParts) {
    this.#parts = parts;
    this.#shared = {
      ...sharedPartsOf(limits, parts),
      readLacking: (liveQuery, read) => this.#readLacking(liveQuery, read),
      onHeld: (liveQuery, dueMs) => parts.held.hold(liveQuery, dueMs),
      onWindowChanged: (liveQuery) => this.#windows.changed(liveQuery),
      onCatchUpWork: (liveQuery, ms) => this.#work.noteCatchUp(liveQuery, ms),
    };
    this.#holdings = new Holdings(limits.lingerMs);
    const { metrics, log, timeline } = parts;
    const settled = async () => {
      do await timeline.settles;
      while (!timeline.isSettled);
    };
    const onLimit: OnLimit = (limit, outcome) => metrics.limitHits.inc({ limit, outcome });
    const end = this.#end.bind(this);
    const remove = this.#remove.bind(this);
    this.#windows = new WindowBudget(limits, this.#holdings, { remove, end, settled }, onLimit, parts);
    this.#work = new WorkMeter({ holdings: this.#holdings, metrics, log, end });
    this.dispatch = new Dispatch({ ...parts, work: this.#work, onFailed: this.#fail.bind(this) });
    metrics.onScrape("windowDocuments", () =>
      metrics.windowDocuments.set(this.#sumOf((query) => query.state.trackedDocuments)),
    );
    metrics.onScrape("windowBytes", () =>
      metrics.windowBytes.set(this.#sumOf((query) => query.state.heldBytes)),
    );
  }

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): LiveQuery | undefined {
    return this.#byKey.get(key);
  }

  byNumber(number: number): LiveQuery | undefined {
    return this.#byNumber.get(number);
  }

  [Symbol.iterator](): IterableIterator<LiveQuery> {
    return this.#byKey.values();
  }

  /**
   * Checks that a user may follow a live query. Live queries that the user left lingering are removed before anything
   * is refused.
   * @throws {TidewireError} `too-many-subscriptions`
   */
  admit(spec: Pick<LiveQuerySpec, "key" | "filter" | "sort">, account: Account): void {
    const liveQuery = this.#byKey.get(spec.key);
    if (liveQuery !== undefined && account.owns(liveQuery)) return;
    if (account.work.isLow(Date.now())) throw account.errorOf("workPerUser", "refused");
    const work = queryWork(spec);
    for (let limit = account.limitFor(work); limit !== null; limit = account.limitFor(work)) {
      const oldest = account.oldestLingering;
      if (oldest === undefined) throw account.errorOf(limit, "refused");
      this.#remove(oldest);
    }
  }

  /**
   * Checks that there is room for the window of a live query that a user starts to follow.
   * @throws {TidewireError} `too-many-subscriptions`
   */
  admitWindow(liveQuery: LiveQuery, account: Account): void {
    if (!liveQuery.state.isStateless) this.#windows.admit(account);
  }

  /** The charge for a sorted result that is read on behalf of a user. */
  chargeReading(account: Account): ReadingCharge {
    return this.#windows.reading(account);
  }

  /** A decision about the rights of a user took `ms` milliseconds. See `WorkMeter.noteRights`. */
  noteRights(account: Account, ms: number): void {
    this.#work.noteRights(account, ms);
  }

  obtain(spec: LiveQuerySpec): LiveQuery {
    return this.#byKey.get(spec.key) ?? this.#create(spec);
  }

  /** Makes a live query that no client can join, for a state that a client has already. */
  detached(spec: LiveQuerySpec): LiveQuery {
    return new LiveQuery(this.#nextNumber++, spec, this.#shared);
  }

  join(delivery: Delivery): void {
    this.#holdings.join(delivery);
  }

  leave(delivery: Delivery, nowMs: number): void {
    const { account } = delivery;
    this.#holdings.leave(delivery, nowMs);
    while (account.lingersTooMuch) {
      const oldest = account.oldestLingering;
      if (oldest === undefined) break;
      this.#remove(oldest);
    }
  }

  /** Each live query as an admin sees it, or the one with a number. */
  *views(only?: number): Generator<LiveQueryView, void> {
    const one = only === undefined ? undefined : this.#byNumber.get(only);
    const wanted = only === undefined ? this.#byKey.values() : one === undefined ? [] : [one];
    for (const liveQuery of wanted) yield this.#viewOf(liveQuery);
  }

  #viewOf(liveQuery: LiveQuery): LiveQueryView {
    const deliveries = this.#holdings.deliveriesOf(liveQuery);
    return {
      number: liveQuery.number,
      namespace: liveQuery.namespace,
      spec: liveQuery.spec,
      subscribers: deliveries.length,
      costMs: this.#work.meanMs(liveQuery),
      heldBytes: liveQuery.state.heldBytes,
      trackedDocuments: liveQuery.state.trackedDocuments,
      resets: deliveries.reduce((sum, { resets }) => sum + resets, 0),
      isIndexed: this.dispatch.isIndexed(liveQuery),
    };
  }

  /** Voids the state of all live queries. */
  forgetAll(): void {
    for (const liveQuery of this.#byKey.values()) liveQuery.forget();
  }

  *startOverAll(): Generator<void, void> {
    for (const delivery of [...this.#holdings.allDeliveries()]) {
      try {
        delivery.startOver();
      } catch (error) {
        delivery.fail(error);
      }
      yield;
    }
  }

  sweep(nowMs: number): void {
    this.#work.judge(nowMs);
    for (const liveQuery of this.#holdings.expired(nowMs)) this.#remove(liveQuery);
    const { metrics } = this.#parts;
    metrics.liveQueries.set(this.#byKey.size);
    metrics.lingeringLiveQueries.set(this.#holdings.lingering);
    metrics.windowReadBytes.set(this.#windows.readingBytes);
  }

  #create(spec: LiveQuerySpec): LiveQuery {
    const liveQuery = this.detached(spec);
    this.#byKey.set(spec.key, liveQuery);
    this.#byNumber.set(liveQuery.number, liveQuery);
    this.#holdings.add(liveQuery);
    this.dispatch.add(liveQuery);
    return liveQuery;
  }

  /**
   * Reads documents that a kept result lacks, when it is the turn of one of its users. Each user is charged for them until
   * they have been used.
   */
  async #readLacking<T>(liveQuery: LiveQuery, { query, clusterTime, use }: LackingRead<T>): Promise<T> {
    const { snapshots, reader } = this.#parts;
    const [first = null, ...others] = leastBusy(this.#holdings.accountsOf(liveQuery));
    const turn = new Turn(first);
    for (const account of others) turn.join(account);
    const charge = this.#windows.readingFor(liveQuery);
    const onDocuments = (documents: readonly Uint8Array[]) => charge.add(bytesIn(documents));
    try {
      const read = () => reader.readAt(query, clusterTime, onDocuments);
      return await use(await snapshots.runShared(turn, read));
    } finally {
      charge.release();
    }
  }

  /** Ends all deliveries of a live query because of a bug. Its state is void. */
  #fail(liveQuery: LiveQuery, error: unknown): void {
    for (const delivery of this.#holdings.deliveriesOf(liveQuery)) delivery.fail(error);
    this.#remove(liveQuery);
  }

  /**
   * Ends the deliveries that one user, or every user, has of a live query. Without followers it does not linger,
   * because it costs too much.
   */
  #end(liveQuery: LiveQuery, account: Account | null, error: Error): void {
    for (const delivery of this.#holdings.deliveriesOf(liveQuery, account)) delivery.fail(error);
    if (!this.#holdings.isFollowed(liveQuery)) this.#remove(liveQuery);
  }

  #remove(liveQuery: LiveQuery): void {
    this.#holdings.remove(liveQuery);
    if (this.#byKey.get(liveQuery.spec.key) === liveQuery) this.#byKey.delete(liveQuery.spec.key);
    this.#byNumber.delete(liveQuery.number);
    this.dispatch.remove(liveQuery);
    this.#work.forget(liveQuery);
    this.#parts.snapshots.drop(liveQuery);
    liveQuery.retire();
  }

  #sumOf(size: (liveQuery: LiveQuery) => number): number {
    let sum = 0;
    for (const liveQuery of this.#byKey.values()) sum += size(liveQuery);
    return sum;
  }
}

function sharedPartsOf(
  { snapshotTimeMs, snapshotDocuments: sortedDocumentsMax, aggregateGroups: aggregateGroupsMax }: FeedLimits,
  parts: LiveQueriesParts,
): Omit<LiveQueryParts, "readLacking" | "onWindowChanged" | "onCatchUpWork" | "onHeld"> {
  const { timeline, encoder, budget, logBudget, newSlices, held, metrics, log } = parts;
  const lost = new SparseLog();
  return {
    timeline,
    encoder,
    budget,
    logBudget,
    newSlices,
    rowPace: held.pace,
    metrics,
    snapshotTimeMs,
    sortedDocumentsMax,
    aggregateGroupsMax,
    onWindowLost: (error) =>
      lost.write(performance.now(), (more) =>
        log.warn({ err: error, ...more }, "a result that is kept in memory was lost; it is read again"),
      ),
  };
}
