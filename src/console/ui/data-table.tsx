import { type ReactNode, type UIEvent, useEffect, useRef, useState } from "react";
import { type ColumnHead, ColumnHeads } from "./column-heads.tsx";
import { visibleRows } from "./visible-rows.ts";

/** A column of a table. */
export interface Column<Row> extends ColumnHead {
  /** A part of the width. */
  readonly share: number;
  readonly cell: (row: Row) => ReactNode;
}

interface DataTableProps<Row> {
  readonly label: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string;
  /** Called when the end of the rows is near. */
  readonly onEnd?: () => void;
}

/** The height of every row, in pixels; in the style sheet as well. */
const ROW_HEIGHT = 44;

/** A table of which only the rows on the screen are in the page, so that thousands of rows stay smooth. */
export function DataTable<Row>({ label, columns, rows, keyOf, onEnd }: DataTableProps<Row>): ReactNode {
  const box = useRef<HTMLElement>(null);
  const [scrollTop, setScrollTop] = useState(0);
  const [height, setHeight] = useState(800);
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => setHeight(element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const { from, to } = visibleRows({ scrollTop, height, rows: rows.length, rowHeight: ROW_HEIGHT });
  useEffect(() => {
    if (to >= rows.length) onEnd?.();
  }, [to, rows.length, onEnd]);
  const shares = columns.reduce((sum, { share }) => sum + share, 0);
  return (
    <section
      ref={box}
      className="data"
      aria-label={label}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: without it the keyboard cannot scroll the table.
      tabIndex={0}
      onScroll={(event: UIEvent<HTMLElement>) => setScrollTop(event.currentTarget.scrollTop)}
    >
      <table aria-label={label} aria-rowcount={rows.length + 1}>
        <colgroup>
          {columns.map(({ title, share }) => (
            <col key={title} style={{ width: `${(100 * share) / shares}%` }} />
          ))}
        </colgroup>
        <thead>
          <tr aria-rowindex={1}>
            <ColumnHeads columns={columns} />
          </tr>
        </thead>
        <tbody>
          <Spacer rows={from} columns={columns.length} />
          {rows.slice(from, to).map((row, at) => (
            <tr key={keyOf(row)} aria-rowindex={from + at + 2}>
              {columns.map(({ title, isNumber, cell }) => (
                <td key={title} className={isNumber === true ? "number" : undefined}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
          <Spacer rows={rows.length - to} columns={columns.length} />
        </tbody>
      </table>
    </section>
  );
}

const Spacer = ({ rows, columns }: { readonly rows: number; readonly columns: number }): ReactNode =>
  rows <= 0 ? null : (
    // biome-ignore lint/a11y/noAriaHiddenOnFocusable: a row without content is not focusable.
    <tr aria-hidden="true" className="spacer">
      <td colSpan={columns} style={{ height: rows * ROW_HEIGHT }} />
    </tr>
  );
