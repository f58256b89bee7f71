import type { Aggregate } from "../match/aggregate.ts";

/** Describes the rows of an aggregate in words. */
export function describeAggregate({ by, values }: Aggregate): string {
  const rows = values.map(({ name, operator, path }) => `${name} = ${operator}(${path ?? ""})`).join(", ");
  if (by === null) return `one, of ${rows}`;
  return `one for each ${typeof by === "string" ? by : by.join(" and ")}, of ${rows}`;
}
