import { lazy, type ReactNode, Suspense } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { Failure } from "../ui/failure.tsx";
import { Hint } from "../ui/hint.tsx";
import { Page } from "../ui/page.tsx";
import { Stale } from "../ui/stale.tsx";
import { useAnswer } from "../ui/use-answer.ts";
import { NodesTable } from "./nodes-table.tsx";

type Overview = AnswerOf<"overview">;

const REFRESH_MS = 5_000;

const Charts = lazy(() => import("./charts.tsx"));

/** The fleet at a glance: the conditions that need an admin, the load, and every node. */
export default function OverviewView(): ReactNode {
  const { value, error, answeredAtMs, reload } = useAnswer("overview", {}, REFRESH_MS);
  return (
    <Page title="Overview" lead="Every node of the fleet, its load, and the conditions that need an admin.">
      {value === null ? (
        error === null ? (
          <p className="starting">Loading …</p>
        ) : (
          <Failure error={error} onRetry={reload} />
        )
      ) : (
        <div className="stack">
          <Stale error={error} answeredAtMs={answeredAtMs} />
          <Troubles troubles={value.troubles} />
          <Totals overview={value} />
          <Suspense fallback={<p className="starting">Loading …</p>}>
            <Charts samples={value.samples} />
          </Suspense>
          <NodesTable nodes={value.nodes} isComplete={value.isComplete} nowMs={answeredAtMs} />
        </div>
      )}
    </Page>
  );
}

const Troubles = ({ troubles }: Pick<Overview, "troubles">): ReactNode =>
  troubles.length === 0 ? (
    <p className="notice good">
      Nothing is wrong: every node is ready, and none reports a condition that needs you.
    </p>
  ) : (
    <section aria-labelledby="troubles">
      <h2 id="troubles">Needs attention</h2>
      <ul className="troubles">
        {troubles.map(({ severity, nodes, text, remedy, link }) => (
          <li key={`${text} ${nodes.join()}`} className={severity}>
            <p>
              <span className={severity === "error" ? "badge bad" : "badge warn"}>{severity}</span>{" "}
              <strong>{text}</strong>
            </p>
            <p>{remedy}</p>
            <p className="hint">
              {nodes.length === 0 ? null : <>Nodes: {nodes.join(", ")}. </>}
              More in <code>docs/{link}</code>
            </p>
          </li>
        ))}
      </ul>
    </section>
  );

interface Total {
  readonly title: string;
  readonly hint: string;
  readonly value: number;
}

function Totals({ overview: { totals } }: { readonly overview: Overview }): ReactNode {
  const rows: readonly Total[] = [
    {
      title: "Nodes",
      hint: "Nodes that have not missed two reports. A worker is a node of its own.",
      value: totals.nodes,
    },
    { title: "Connections", hint: "Authenticated clients of all nodes.", value: totals.connections },
    { title: "Subscriptions", hint: "Active subscriptions of all connections.", value: totals.subscriptions },
    {
      title: "Live queries",
      hint: "Different live queries. Subscriptions with the same effective filter share one on each node.",
      value: totals.liveQueries,
    },
  ];
  return (
    <dl className="totals">
      {rows.map(({ title, hint, value }) => (
        <div key={title}>
          <dt>
            <Hint text={hint}>{title}</Hint>
          </dt>
          <dd>{value.toLocaleString("en")}</dd>
        </div>
      ))}
    </dl>
  );
}
