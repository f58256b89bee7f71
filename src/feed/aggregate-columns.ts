/**
 * The values that each group of a live aggregate keeps. Fields of the rows that need the same value share it: `sum` and
 * `avg` of one path are one exact sum.
 */
import type { Aggregate } from "../match/aggregate.ts";
import { compileExpressionPath, type ExpressionPath } from "../match/expression-path.ts";

/** A path of which each group keeps the smallest or the greatest value. */
export interface ExtremeColumn {
  readonly path: string;
  /** 1 for the smallest value, -1 for the greatest. */
  readonly sign: 1 | -1;
}

/** One field of the rows, and the column from which it is computed. */
export type RowField =
  | { readonly name: string; readonly kind: "count" }
  | { readonly name: string; readonly kind: "sum" | "average"; readonly column: number }
  | { readonly name: string; readonly kind: "extreme"; readonly column: number };

/**
 * The columns that each group keeps: a sum for each path that is summed, and an extreme for each minimum or maximum.
 */
export interface AggregateColumns {
  readonly sums: readonly string[];
  readonly extremes: readonly ExtremeColumn[];
  readonly fields: readonly RowField[];
}

/** Determines the columns of an aggregate. Fields share a column if they need the same value. */
export function columnsOf({ values }: Aggregate): AggregateColumns {
  const sums: string[] = [];
  const extremes: ExtremeColumn[] = [];
  const fields: RowField[] = values.map((value) => {
    const { name } = value;
    if (value.operator === "count") return { name, kind: "count" };
    if (value.operator === "sum" || value.operator === "avg")
      return {
        name,
        kind: value.operator === "sum" ? "sum" : "average",
        column: sumColumn(sums, value.path),
      };
    const sign = value.operator === "min" ? 1 : -1;
    return { name, kind: "extreme", column: extremeColumn(extremes, value.path, sign) };
  });
  return { sums, extremes, fields };
}

function sumColumn(sums: string[], path: string): number {
  const known = sums.indexOf(path);
  return known >= 0 ? known : sums.push(path) - 1;
}

function extremeColumn(extremes: ExtremeColumn[], path: string, sign: 1 | -1): number {
  const known = extremes.findIndex((column) => column.path === path && column.sign === sign);
  return known >= 0 ? known : extremes.push({ path, sign }) - 1;
}

/** Functions that find the values of the columns in a document. */
export interface ColumnPaths {
  readonly sums: readonly ExpressionPath[];
  readonly extremes: readonly ExpressionPath[];
}

export function compileColumns({ sums, extremes }: AggregateColumns): ColumnPaths {
  return {
    sums: sums.map(compileExpressionPath),
    extremes: extremes.map(({ path }) => compileExpressionPath(path)),
  };
}
