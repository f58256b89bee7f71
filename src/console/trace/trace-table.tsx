import type { ReactNode } from "react";
import { type Column, DataTable } from "../ui/data-table.tsx";
import { lag } from "../ui/numbers.ts";
import { preciseClock } from "../ui/times.ts";
import { BADGES, type ChangeEntry, decisionText, type Entry, sentText, totalLag } from "./entries.ts";

/** Stands for a value that the reader may not see. */
export const Redacted = (): ReactNode => <span className="badge redacted">redacted</span>;

const collectionOf = (namespace: string): string => namespace.slice(namespace.indexOf(".") + 1);

const columnsOf = (redacted: boolean, onOpen: (key: string) => void): readonly Column<Entry>[] => [
  {
    title: "Read",
    hint: "When the node received the event, in the time zone of this browser.",
    share: 3,
    cell: ({ key, at }) => (
      <button type="button" className="link" onClick={() => onOpen(key)}>
        {preciseClock(at)}
      </button>
    ),
  },
  {
    title: "Event",
    hint: "The operation of a change event; rights: a decision about the rights of a subscription.",
    share: 2,
    cell: (entry) => (
      <span className={entry.kind === "rights" ? "badge accent" : "badge"}>
        {entry.kind === "rights" ? "rights" : entry.operation}
      </span>
    ),
  },
  {
    title: "Collection",
    hint: "The collection of the event, or the name that the client uses.",
    share: 3,
    cell: (entry) => (entry.kind === "rights" ? entry.collection : collectionOf(entry.namespace)),
  },
  {
    title: "About",
    hint: "The _id of the document, or the client's id of the subscription.",
    share: 4,
    cell: (entry) =>
      entry.kind === "rights" ? (
        <code>{entry.subscription}</code>
      ) : redacted ? (
        <Redacted />
      ) : (
        <code title={entry.documentId ?? ""}>{entry.documentId ?? "the whole collection"}</code>
      ),
  },
  {
    title: "Decision",
    hint: "The effect on the results of the live queries, or the outcome for the subscription.",
    share: 4,
    cell: (entry) => (
      <span className="decisions">
        <span className={badgeOf(entry)}>
          {entry.kind === "rights" ? entry.outcome : decisionText(entry)}
        </span>
        <span className="hint">{rulesText(entry)}</span>
      </span>
    ),
  },
  {
    title: "Sent",
    hint: "The number of subscribers that received it, and of those that are not up to date.",
    share: 3,
    cell: (entry) => (entry.kind === "rights" ? "–" : sentText(entry)),
  },
  {
    title: "Lag",
    hint: "From the write to the last outbox. It contains the difference between the clocks of MongoDB and the node.",
    isNumber: true,
    share: 2,
    cell: (entry) => (entry.kind === "rights" ? "–" : lagText(entry)),
  },
];

function badgeOf(entry: Entry): string {
  if (entry.kind === "rights") return /refused|ended/.test(entry.outcome) ? "badge bad" : "badge good";
  const effects = new Set(entry.decisions.map(({ effect }) => effect).filter((effect) => effect !== "none"));
  const [only] = effects;
  if (only === undefined) return "badge";
  return effects.size > 1 ? "badge accent" : `badge ${BADGES[only]}`;
}

/** The rules behind the decisions. */
function rulesText(entry: Entry): string {
  if (entry.kind === "rights") return entry.rule ?? "";
  return [...new Set(entry.decisions.flatMap(({ rules }) => rules))].join(", ");
}

function lagText(entry: ChangeEntry): string {
  const total = totalLag(entry);
  return total === null ? "–" : lag(total);
}

interface TraceTableProps {
  readonly entries: readonly Entry[];
  readonly redacted: boolean;
  readonly onOpen: (key: string) => void;
}

/** The entries of a trace, the latest first. */
export const TraceTable = ({ entries, redacted, onOpen }: TraceTableProps): ReactNode => (
  <DataTable label="Entries" columns={columnsOf(redacted, onOpen)} rows={entries} keyOf={({ key }) => key} />
);
