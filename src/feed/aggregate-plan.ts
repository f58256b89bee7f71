import { type Aggregate, aggregatePaths, canonicalAggregate } from "../match/aggregate.ts";
import { includeProjection } from "../match/projection.ts";
import type { Projection } from "../match/projection-fields.ts";
import type { SnapshotQuery } from "../source/snapshot-cursor.ts";
import { type AggregateColumns, type ColumnPaths, columnsOf, compileColumns } from "./aggregate-columns.ts";
import { groupStages } from "./aggregate-stages.ts";
import { compileGroupId, type GroupIdOf } from "./group-id.ts";

/** The groups of live queries, compiled. */
export class AggregatePlan {
  readonly aggregate: Aggregate;
  /** How many groups the result may have. */
  readonly groupsMax: number;
  readonly columns: AggregateColumns;
  readonly idOf: GroupIdOf;
  readonly paths: ColumnPaths;
  /** Only a difference between the fields in it can change a row. */
  readonly projection: Projection;

  constructor(aggregate: Aggregate, groupsMax: number) {
    this.aggregate = aggregate;
    this.groupsMax = groupsMax;
    this.columns = columnsOf(aggregate);
    this.idOf = compileGroupId(aggregate.by);
    this.paths = compileColumns(this.columns);
    this.projection = includeProjection(withoutNested(aggregatePaths(aggregate)));
  }

  /** Reads the groups of the documents that a query finds: one more than there may be shows that there are too many. */
  loadQuery(query: SnapshotQuery): SnapshotQuery {
    return { ...query, stages: groupStages(this.aggregate, this.columns, this.groupsMax + 1) };
  }
}

/** A projection lists no path within another one. */
const withoutNested = (paths: readonly string[]): string[] =>
  paths.filter((path) => !paths.some((other) => path.startsWith(`${other}.`)));

/** Plans in use, by their text: thousands of counters differ in their filters alone. */
const shared = new Map<string, WeakRef<AggregatePlan>>();
const collected = new FinalizationRegistry<string>((key) => {
  if (shared.get(key)?.deref() === undefined) shared.delete(key);
});

/** The plan of an aggregate; equal ones share it. */
export function planOf(aggregate: Aggregate, groupsMax: number): AggregatePlan {
  const key = `${groupsMax} ${canonicalAggregate(aggregate)}`;
  const known = shared.get(key)?.deref();
  if (known !== undefined) return known;
  const plan = new AggregatePlan(aggregate, groupsMax);
  shared.set(key, new WeakRef(plan));
  collected.register(plan, key);
  return plan;
}
