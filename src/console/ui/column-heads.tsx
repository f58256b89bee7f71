import type { ReactNode } from "react";
import { Hint } from "./hint.tsx";

/** The head of a column. */
export interface ColumnHead {
  readonly title: string;
  /** The meaning and the unit. */
  readonly hint: string;
  readonly isNumber?: boolean;
}

/** The cells of the head of a table. */
export const ColumnHeads = ({ columns }: { readonly columns: readonly ColumnHead[] }): ReactNode =>
  columns.map(({ title, hint, isNumber }) => (
    <th scope="col" key={title} className={isNumber === true ? "number" : undefined}>
      <Hint text={hint}>{title}</Hint>
    </th>
  ));
