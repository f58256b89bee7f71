import type { ReactNode } from "react";
import { type Column, DataTable } from "./data-table.tsx";
import { Failure } from "./failure.tsx";
import { count } from "./numbers.ts";
import { Stale } from "./stale.tsx";
import type { Pages } from "./use-pages.ts";

interface ListViewProps<Row> {
  readonly label: string;
  /** The singular and the plural of a row. */
  readonly unit: readonly [one: string, many: string];
  readonly columns: readonly Column<Row>[];
  readonly pages: Pages<Row>;
  readonly keyOf: (row: Row) => string;
  /** Shown if there is no row. */
  readonly empty: ReactNode;
}

/** A list that is read page by page, with everything that can be said instead of rows. */
export function ListView<Row>({ label, unit, columns, pages, keyOf, empty }: ListViewProps<Row>): ReactNode {
  const { rows, isFirst, isComplete, error, answeredAtMs, more, reload } = pages;
  if (isFirst)
    return error === null ? (
      <p className="starting">Loading …</p>
    ) : (
      <Failure error={error} onRetry={reload} />
    );
  if (rows.length === 0) return empty;
  return (
    <>
      <Stale error={error} answeredAtMs={answeredAtMs} />
      <DataTable label={label} columns={columns} rows={rows} keyOf={keyOf} onEnd={more} />
      <p className="hint list-foot">
        {count(rows.length, ...unit)}
        {isComplete ? "" : " so far; scroll for more"}
        <button type="button" className="quiet" onClick={reload}>
          Refresh
        </button>
      </p>
    </>
  );
}
