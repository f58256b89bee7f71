/**
 * Keeps the rows of a live aggregate without its documents. Each commit carries the documents before and after it,
 * which are subtracted and added. Only a minimum or a maximum can be lost this way, if all known values have left; then
 * it is read from the database at the cluster time of that commit.
 */

import { oneSpelling } from "../match/one-spelling.ts";
import { runThrough, StepPace, type Steps } from "../match/steps.ts";
import { NULL } from "../match/write-bson.ts";
import { amount } from "../protocol/amount.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { Cause } from "../protocol/messages.ts";
import type { SnapshotQuery } from "../source/snapshot-cursor.ts";
import type { AggregatePlan } from "./aggregate-plan.ts";
import { readGroup, readSpare } from "./aggregate-rows.ts";
import { spareStages } from "./aggregate-stages.ts";
import { type Change, UNKNOWN } from "./change.ts";
import { documentQueryOf } from "./document-query.ts";
import type { Evaluation } from "./evaluation.ts";
import { SPARE_DOCUMENTS } from "./extreme.ts";
import { Group } from "./group.ts";
import { groupKey } from "./group-id.ts";
import type { HistoryEntry } from "./history.ts";
import type { Found, KeptResult, LackingRead, ResultKind } from "./kept-result.ts";
import type { LiveQuerySpec } from "./live-query-spec.ts";
import type { WindowMember } from "./result-state.ts";
import { SmallMap } from "./small-map.ts";
import type { Touched, TouchedDocument } from "./window-changes.ts";

/** The parts that the groups of all live queries share. */
interface SharedParts<Owner> {
  /** Reads what the groups of a live query lack. */
  readonly readLacking: <T>(owner: Owner, read: LackingRead<T>) => Promise<T>;
  /** How long MongoDB may work on one read, in milliseconds. */
  readonly snapshotTimeMs: number;
}

/** The live query of the groups. */
export interface AggregateOwner {
  readonly evaluation: Evaluation;
  readonly spec: LiveQuerySpec;
}

/** The parts of one live query that its groups use. */
interface AggregateParts {
  readLacking<T>(read: LackingRead<T>): Promise<T>;
  readonly plan: AggregatePlan;
  readonly owner: AggregateOwner;
  /** The query that finds the documents. */
  readonly documentQuery: SnapshotQuery;
}

/** The columns of one group of which no value is known any more. */
interface Exhausted {
  readonly group: Group;
  readonly columns: readonly number[];
}

const NONE_EXHAUSTED: readonly Exhausted[] = [];

/** Why groups have changed, by their keys. Most commits change one or two. */
type Causes = SmallMap<string, Cause>;

/**
 * If more columns than this are exhausted, the first values of all groups are read instead, with one query. A column
 * that is read by itself receives many values, so it is not exhausted again soon. All columns of the two groups that a
 * write to one document concerns are therefore read by themselves.
 */
const SPARE_READS_MAX = 16;

/**
 * The groups of a live query, updated in the order of the commits. After each commit their rows are those of the
 * server's own `$group` at that cluster time. The memory does not depend on the number of documents.
 */
export class AggregatedResult implements KeptResult {
  readonly #parts: AggregateParts;
  readonly loadedAt: bigint;
  /** The cluster time at which values were last read, apart from reads of the whole result. */
  #readAt = 0n;
  /** Most aggregates are of one group. */
  #groups = new SmallMap<string, Group>();
  #heldBytes = 0;

  private constructor(parts: AggregateParts, loadedAt: bigint) {
    this.#parts = parts;
    this.loadedAt = loadedAt;
  }

  /** Takes the answers to the load query at a cluster time. @throws {TidewireError} `snapshot-too-large` */
  static loaded(
    parts: AggregateParts,
    answers: readonly Uint8Array[],
    clusterTime: bigint,
  ): AggregatedResult {
    if (answers.length > parts.plan.groupsMax) throw tooManyGroups(parts.plan.groupsMax);
    const result = new AggregatedResult(parts, clusterTime);
    result.#load(answers);
    for (const group of result.#groups.values()) result.#show(group, group.makeRow(parts.plan.columns));
    return result;
  }

  get size(): number {
    return this.#groups.size;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  get visible(): readonly WindowMember[] {
    return this.#groups.values().map(({ id, row }) => ({ id: groupKey(id), idValue: id, document: row }));
  }

  apply(entry: HistoryEntry): Found {
    const { clusterTime, events } = entry.commit;
    if (clusterTime <= this.loadedAt) return [];
    const { evaluation } = this.#parts.owner;
    const [only] = events;
    if (only === undefined || events.length > 1)
      return runThrough(this.applyTouched(entry, evaluation.touchedBy(events)));
    // Most commits are one write, and most counters count many of them.
    const touched = evaluation.touchedByOne(only);
    if (touched === null) return [];
    if (touched === UNKNOWN || this.#isAmbiguousAt(clusterTime)) return UNKNOWN;
    const causes: Causes = new SmallMap();
    this.#countBoth(touched, causes);
    return this.#settle(causes, clusterTime);
  }

  /** Finds the effect of a commit on the documents, in steps. */
  *touchedInSteps({ commit }: HistoryEntry): Steps<Touched | typeof UNKNOWN> {
    return yield* this.#parts.owner.evaluation.touchedInSteps(commit.events);
  }

  *applyTouched({ commit }: HistoryEntry, touched: Touched | typeof UNKNOWN): Steps<Found> {
    if (touched === UNKNOWN) return UNKNOWN;
    if (touched.size === 0) return [];
    const { clusterTime } = commit;
    if (this.#isAmbiguousAt(clusterTime)) return UNKNOWN;
    const causes: Causes = new SmallMap();
    const pace = new StepPace();
    for (const one of touched.values()) {
      this.#countBoth(one, causes);
      if (pace.isOver((one.previous?.length ?? 0) + (one.document?.length ?? 0))) yield;
    }
    return this.#settle(causes, clusterTime);
  }

  /** Another commit has the same cluster time. It is unknown whether the values that were read are from before or after it. */
  #isAmbiguousAt(clusterTime: bigint): boolean {
    return clusterTime <= this.#readAt;
  }

  /** The changes of the rows after the documents of a commit were counted. */
  #settle(causes: Causes, clusterTime: bigint): Found {
    const { groupsMax } = this.#parts.plan;
    if (this.#groups.size > groupsMax && this.#sizeAfter(causes) > groupsMax) return UNKNOWN;
    const exhausted = this.#exhausted(causes.keys());
    return exhausted.length === 0
      ? this.#changes(causes)
      : this.#readExhausted(exhausted, clusterTime, causes);
  }

  /** The number of groups without those that are about to leave, because they have no documents. */
  #sizeAfter(causes: Causes): number {
    let size = this.#groups.size;
    for (const key of causes.keys()) if (this.#groups.get(key)?.documents === 0) size--;
    return size;
  }

  /** Subtracts a document as it was, and adds it as it is. */
  #countBoth({ cause, previous, document, isVisiblyChanged }: TouchedDocument, causes: Causes): void {
    if (!isVisiblyChanged) return;
    if (previous !== undefined) this.#count(previous, -1, cause, causes);
    if (document !== undefined) this.#count(document, 1, cause, causes);
  }

  /** Adds a document that has entered its group (`times` is 1), or subtracts one that has left it. */
  #count(document: Uint8Array, times: 1 | -1, cause: Cause, causes: Causes): void {
    const { idOf, columns, paths } = this.#parts.plan;
    const id = idOf(document);
    const key = groupKey(id);
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = new Group(oneSpelling(id), columns);
      this.#add(group);
    }
    this.#heldBytes -= group.heldBytes;
    group.apply(document, paths, times);
    this.#heldBytes += group.heldBytes;
    causes.set(key, cause);
  }

  /** Turns the differences between the old and the new rows into changes. Rows that leave come first. */
  #changes(causes: Causes): Change[] {
    const keys = causes.keys();
    const [only] = keys;
    if (only !== undefined && keys.length === 1) {
      const change = this.#changeOf(only, causes);
      // An array literal has room for this one element, and none for more.
      return change === null ? [] : [change];
    }
    const removed: Change[] = [];
    const others: Change[] = [];
    for (const key of keys) {
      const change = this.#changeOf(key, causes);
      if (change !== null) (change.type === "removed" ? removed : others).push(change);
    }
    return [...removed, ...others];
  }

  /** Shows the new row of a group, or drops the group; `null` if followers see no difference. */
  #changeOf(key: string, causes: Causes): Change | null {
    const group = this.#groups.get(key);
    if (group === undefined) return null;
    const cause = causes.get(key) as Cause; // the key is one of them
    const before = group.row;
    if (group.documents === 0 && this.#parts.plan.aggregate.by !== null) {
      this.#groups.delete(key);
      this.#heldBytes -= group.heldBytes;
      return before.length === 0 ? null : { type: "removed", cause, id: group.id, previous: before };
    }
    const document = group.makeRow(this.#parts.plan.columns);
    if (before.length > 0 && Buffer.compare(before, document) === 0) return null;
    this.#show(group, document);
    return before.length === 0
      ? { type: "added", cause, document }
      : { type: "changed", cause, document, previous: before };
  }

  #show(group: Group, row: Uint8Array): void {
    this.#heldBytes += 2 * (row.length - group.row.length);
    group.row = row;
  }

  #exhausted(keys: Iterable<string>): readonly Exhausted[] {
    if (this.#parts.plan.columns.extremes.length === 0) return NONE_EXHAUSTED;
    const exhausted: Exhausted[] = [];
    for (const key of keys) {
      const group = this.#groups.get(key);
      if (group === undefined || group.documents === 0 || !group.isExhausted) continue;
      const columns = [...group.extremes.keys()].filter((index) => group.extremes[index]?.isExhausted);
      exhausted.push({ group, columns });
    }
    return exhausted;
  }

  /** Reads the values that are no longer known, at the cluster time of the commit. */
  async #readExhausted(
    exhausted: readonly Exhausted[],
    clusterTime: bigint,
    causes: Causes,
  ): Promise<Change[] | typeof UNKNOWN> {
    const { documentQuery, plan } = this.#parts;
    this.#readAt = clusterTime;
    const reads = exhausted.reduce((sum, { columns }) => sum + columns.length, 0);
    if (reads > SPARE_READS_MAX) {
      const isLoaded = await this.#parts.readLacking({
        query: plan.loadQuery(documentQuery),
        clusterTime,
        use: (answers) => answers.length <= plan.groupsMax && this.#loadFirst(answers, exhausted),
      });
      return isLoaded ? this.#changes(causes) : UNKNOWN;
    }
    for (const { group, columns } of exhausted)
      for (const index of columns) {
        const column = plan.columns.extremes[index];
        if (column === undefined) continue;
        const stages = spareStages(plan.aggregate.by, group.id, column, SPARE_DOCUMENTS);
        const use = (answers: readonly Uint8Array[]) => {
          this.#heldBytes -= group.heldBytes;
          group.extremes[index]?.load(readSpare(answers), answers.length < SPARE_DOCUMENTS);
          this.#heldBytes += group.heldBytes;
        };
        await this.#parts.readLacking({ query: { ...documentQuery, stages }, clusterTime, use });
      }
    return this.#changes(causes);
  }

  /**
   * Takes the first value of each exhausted column from the answers to the load query. All other values are known, and
   * stay.
   * @returns `false` if a group is missing.
   */
  #loadFirst(answers: readonly Uint8Array[], exhausted: readonly Exhausted[]): boolean {
    const { columns: all } = this.#parts.plan;
    const read = new Map<string, Group>();
    for (const answer of answers) {
      const group = readGroup(answer, all);
      read.set(groupKey(group.id), group);
    }
    for (const { group, columns } of exhausted) {
      const now = read.get(groupKey(group.id));
      if (now === undefined) return false;
      this.#heldBytes -= group.heldBytes;
      for (const index of columns) {
        const first = now.extremes[index]?.first ?? null;
        group.extremes[index]?.load(first === null ? [] : [first], first === null);
      }
      this.#heldBytes += group.heldBytes;
    }
    return true;
  }

  #load(answers: readonly Uint8Array[]): void {
    const { plan } = this.#parts;
    this.#groups = new SmallMap();
    this.#heldBytes = 0;
    for (const answer of answers) this.#add(readGroup(answer, plan.columns));
    // An aggregate that does not group has always one row, even without documents.
    if (plan.aggregate.by === null && this.#groups.size === 0) this.#add(new Group(NULL, plan.columns));
  }

  #add(group: Group): void {
    this.#groups.set(groupKey(group.id), group);
    this.#heldBytes += group.heldBytes;
  }
}

const tooManyGroups = (most: number) =>
  new TidewireError(
    "snapshot-too-large",
    `the aggregate has more than ${amount(most, "group")}: group by a path with fewer values, or narrow the filter`,
    { limit: "aggregateGroups", value: most },
  );

/** Makes the groups of one live query. It is a class, because closures would be memory of each live query. */
export class AggregateKind<Owner extends AggregateOwner> implements ResultKind, AggregateParts {
  readonly plan: AggregatePlan;
  readonly owner: Owner;
  readonly #shared: SharedParts<Owner>;

  constructor(shared: SharedParts<Owner>, plan: AggregatePlan, owner: Owner) {
    this.#shared = shared;
    this.plan = plan;
    this.owner = owner;
  }

  readLacking<T>(read: LackingRead<T>): Promise<T> {
    return this.#shared.readLacking(this.owner, read);
  }

  get documentQuery(): SnapshotQuery {
    return documentQueryOf(this.owner.spec, this.#shared.snapshotTimeMs);
  }

  *prepareInSteps(): Steps<void> {}

  load(answers: readonly Uint8Array[], clusterTime: bigint): KeptResult {
    return AggregatedResult.loaded(this, answers, clusterTime);
  }
}
