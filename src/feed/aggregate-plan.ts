/**
 * Everything about an aggregate that does not depend on its filter. Thousands of counters usually differ only in their
 * filters, so live queries with equal aggregates share one plan.
 */
import { type Aggregate, aggregatePaths, canonicalAggregate } from "../match/aggregate.ts";
import { includeProjection } from "../match/projection.ts";
import type { Projection } from "../match/projection-fields.ts";
import type { SnapshotQuery } from "../source/snapshot-cursor.ts";
import { type AggregateColumns, type ColumnPaths, columnsOf, compileColumns } from "./aggregate-columns.ts";
import { groupStages } from "./aggregate-stages.ts";
import { compileGroupId, type GroupIdOf } from "./group-id.ts";

/** A compiled aggregate. */
export class AggregatePlan {
  readonly aggregate: Aggregate;
  /** The most groups that the result may have. */
  readonly groupsMax: number;
  readonly columns: AggregateColumns;
  readonly idOf: GroupIdOf;
  readonly paths: ColumnPaths;
  /** The fields that the rows depend on. If none of them differs, a commit changes no row. */
  readonly projection: Projection;

  constructor(aggregate: Aggregate, groupsMax: number) {
    this.aggregate = aggregate;
    this.groupsMax = groupsMax;
    this.columns = columnsOf(aggregate);
    this.idOf = compileGroupId(aggregate.by);
    this.paths = compileColumns(this.columns);
    this.projection = includeProjection(withoutNested(aggregatePaths(aggregate)));
  }

  /**
   * The query that reads the groups of the documents that a query finds. It reads one group more than allowed, which
   * shows that there are too many.
   */
  loadQuery(query: SnapshotQuery): SnapshotQuery {
    return { ...query, stages: groupStages(this.aggregate, this.columns, this.groupsMax + 1) };
  }
}

/** A projection must not contain a path inside another one. */
const withoutNested = (paths: readonly string[]): string[] =>
  paths.filter((path) => !paths.some((other) => path.startsWith(`${other}.`)));

/** Plans in use, by the text of their aggregates and limits. */
const shared = new Map<string, WeakRef<AggregatePlan>>();
const collected = new FinalizationRegistry<string>((key) => {
  if (shared.get(key)?.deref() === undefined) shared.delete(key);
});

/** Gets the plan of an aggregate. Equal aggregates share one. */
export function planOf(aggregate: Aggregate, groupsMax: number): AggregatePlan {
  const key = `${groupsMax} ${canonicalAggregate(aggregate)}`;
  const known = shared.get(key)?.deref();
  if (known !== undefined) return known;
  const plan = new AggregatePlan(aggregate, groupsMax);
  shared.set(key, new WeakRef(plan));
  collected.register(plan, key);
  return plan;
}
