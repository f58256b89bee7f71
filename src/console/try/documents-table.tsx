import type { ReactNode } from "react";
import { count } from "../ui/numbers.ts";
import { Scroll } from "../ui/scroll.tsx";
import {
  type ComparedDocument,
  compareDocuments,
  differingFields,
  type Fields,
  type Mark,
  type Outcome,
} from "./compare.ts";

const MARKS: Readonly<Record<Mark, readonly [badge: string, text: string]>> = {
  same: ["badge", "same"],
  differs: ["badge accent", "other fields"],
  "only-in-force": ["badge bad", "only in force"],
  "only-draft": ["badge good", "only in the draft"],
  undecided: ["badge warn", "beyond the list"],
};

interface DocumentsTableProps {
  readonly inForce: Outcome;
  /** `null`: nothing is compared. */
  readonly draft: Outcome | null;
}

/** The documents that the user would see, under both sets of rules. */
export function DocumentsTable({ inForce, draft }: DocumentsTableProps): ReactNode {
  if (inForce.documents === null && (draft?.documents ?? null) === null) return null;
  const rows = compareDocuments(inForce.documents, draft?.documents ?? null);
  const hasMore = inForce.documents?.hasMore === true || draft?.documents?.hasMore === true;
  return (
    <div className="panel">
      <h2>
        {hasMore ? "The first " : ""}
        {count(rows.length, "document")} that the user would see
      </h2>
      {rows.length === 0 ? (
        <p className="hint">No document matches the effective filter now.</p>
      ) : (
        <Scroll label="Documents">
          <table className="compared">
            <thead>
              <tr>
                {draft === null ? null : <th scope="col">Difference</th>}
                <th scope="col">Rules in force</th>
                {draft === null ? null : <th scope="col">Draft</th>}
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <Row key={row.key} row={row} isCompared={draft !== null} />
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </div>
  );
}

function Row({
  row,
  isCompared,
}: {
  readonly row: ComparedDocument;
  readonly isCompared: boolean;
}): ReactNode {
  if (!isCompared)
    return (
      <tr>
        <td>
          <DocumentText document={row.inForce} other={null} kind="" />
        </td>
      </tr>
    );
  const [badge, text] = MARKS[row.mark];
  return (
    <tr className={row.mark === "same" ? undefined : "differs"}>
      <td>
        <span className={badge}>{text}</span>
      </td>
      <td>
        <DocumentText document={row.inForce} other={row.draft} kind="gone" />
      </td>
      <td>
        <DocumentText document={row.draft} other={row.inForce} kind="new" />
      </td>
    </tr>
  );
}

interface DocumentTextProps {
  readonly document: Fields | null;
  readonly other: Fields | null;
  /** The class of fields that the other document lacks, or has with another value. */
  readonly kind: string;
}

function DocumentText({ document, other, kind }: DocumentTextProps): ReactNode {
  if (document === null) return <span className="hint">not visible</span>;
  const differing = differingFields(document, other);
  return (
    <code className="document">
      {Object.entries(document).map(([name, value]) => (
        <span key={name} className={differing.has(name) ? kind : undefined}>
          <b>{name}</b>: {JSON.stringify(value)}
        </span>
      ))}
    </code>
  );
}
