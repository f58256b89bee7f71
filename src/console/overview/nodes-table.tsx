import type { ReactNode } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { type ColumnHead, ColumnHeads } from "../ui/column-heads.tsx";
import { duration } from "../ui/numbers.ts";
import { Scroll } from "../ui/scroll.tsx";
import { ago, dateTime } from "../ui/times.ts";

type Overview = AnswerOf<"overview">;
type Node = Overview["nodes"][number];

interface Column extends ColumnHead {
  readonly cell: (node: Node, nowMs: number) => ReactNode;
}

const COLUMNS: readonly Column[] = [
  {
    title: "Node",
    hint: "Its name. A worker is a node of its own.",
    cell: ({ node }) => <strong>{node}</strong>,
  },
  {
    title: "Status",
    hint: "ready: it takes clients. silent: it has missed two reports, so that it has probably ended. Otherwise its status as in /readyz.",
    cell: ({ ready, status, isSilent, reportedAgoMs }) =>
      isSilent ? (
        <span className="badge warn">silent for {duration(reportedAgoMs)}</span>
      ) : (
        <span className={ready ? "badge good" : "badge bad"}>{status}</span>
      ),
  },
  {
    title: "Reported",
    hint: "How long ago it reported to the state database. now: a node of this listener.",
    cell: ({ reportedAgoMs }) => (reportedAgoMs === 0 ? "now" : `${duration(reportedAgoMs)} ago`),
  },
  { title: "Version", hint: "The version of Tidewire.", cell: ({ version }) => version },
  {
    title: "Started",
    hint: "How long its process runs.",
    cell: ({ startedAt }, nowMs) => <span title={dateTime(startedAt)}>{ago(startedAt, nowMs)}</span>,
  },
  {
    title: "Lag",
    hint: "Age of the head of the change stream: clients see changes at most so much later.",
    isNumber: true,
    cell: ({ headAgeMs }) => duration(headAgeMs),
  },
  {
    title: "Rules",
    hint: "The generation of the rules in force, and the outcome of the last edit of the configuration.",
    cell: ({ rulesGeneration, lastReload }) => (
      <>
        generation {rulesGeneration}
        {lastReload === "rejected" ? <span className="badge bad"> edit rejected</span> : null}
      </>
    ),
  },
  {
    title: "Connections",
    hint: "Authenticated clients.",
    isNumber: true,
    cell: ({ connections }) => connections.toLocaleString("en"),
  },
  {
    title: "Subscriptions",
    hint: "Active subscriptions.",
    isNumber: true,
    cell: ({ subscriptions }) => subscriptions.toLocaleString("en"),
  },
  {
    title: "Live queries",
    hint: "Different live queries on this node.",
    isNumber: true,
    cell: ({ liveQueries }) => liveQueries.toLocaleString("en"),
  },
];

interface NodesTableProps extends Pick<Overview, "nodes" | "isComplete"> {
  readonly nowMs: number;
}

/** Every node of the fleet. */
export const NodesTable = ({ nodes, isComplete, nowMs }: NodesTableProps): ReactNode => (
  <div className="panel">
    <h2>Nodes</h2>
    {isComplete ? null : (
      <p className="notice warn">
        MongoDB does not answer, so that only the nodes of this listener are listed.
      </p>
    )}
    <Scroll label="Nodes">
      <table>
        <thead>
          <tr>
            <ColumnHeads columns={COLUMNS} />
          </tr>
        </thead>
        <tbody>
          {nodes.map((node) => (
            <tr key={node.id}>
              {COLUMNS.map(({ title, isNumber, cell }) => (
                <td key={title} className={isNumber === true ? "number" : undefined}>
                  {cell(node, nowMs)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  </div>
);
