import type { ReactNode } from "react";
import { useSession } from "../shell/session.ts";
import { Failure } from "../ui/failure.tsx";
import { DiffView, isSameRules } from "./diff-view.tsx";
import { EffectTable } from "./effect-table.tsx";
import type { Plan, Problem } from "./problem.ts";
import { ReplayPanel } from "./replay-panel.tsx";
import type { Check } from "./use-check.ts";

interface PlanPanelProps {
  readonly text: string;
  /** The set in force, which the draft is compared with. */
  readonly inForce: number;
  readonly check: Check;
  /** Shows a line in the editor. */
  readonly onLine: (line: number) => void;
}

/** The mistakes of a draft, or its effect. */
export function PlanPanel({ text, inForce, check, onLine }: PlanPanelProps): ReactNode {
  const { problems, plan, isPending, error } = check;
  const mayPlan = useSession().roles.has("edit");
  return (
    <section className="panel plan" aria-label="Effect of the draft" aria-busy={isPending}>
      <p className="visually-hidden" role="status">
        {isPending ? "" : summaryOf(check)}
      </p>
      {problems.length > 0 ? (
        <Problems problems={problems} onLine={onLine} />
      ) : error !== null && !isPending ? (
        <Failure error={error} />
      ) : !mayPlan ? (
        <p className="hint">
          To see the effect of a draft on users, a token needs the role <code>edit</code>: conditions of a
          draft could find out any claim. The tests below run on the draft.
        </p>
      ) : plan === null ? (
        <p className="hint">Checking …</p>
      ) : (
        <>
          <Effect plan={plan} />
          <ReplayPanel text={text} inForce={inForce} />
        </>
      )}
    </section>
  );
}

function summaryOf({ problems, plan, error }: Check): string {
  if (problems.length > 0) return `${problems.length} mistakes`;
  if (error !== null) return "The draft could not be checked";
  return plan === null || isSameRules(plan.diff)
    ? "The same rules as in force"
    : "No mistakes; the effect is computed";
}

interface ProblemsProps {
  readonly problems: readonly Problem[];
  readonly onLine: (line: number) => void;
}

const Problems = ({ problems, onLine }: ProblemsProps): ReactNode => (
  <>
    <h2>{problems.length === 1 ? "1 mistake" : `${problems.length} mistakes`}</h2>
    <ul className="problems">
      {problems.map(({ line, column, path, message }) => (
        <li key={`${line}:${column}:${path}:${message}`}>
          <button type="button" onClick={() => onLine(line)}>
            <span className="line">line {line}</span>
            <span>
              {path === "" ? null : <code>{path}</code>} {message}
            </span>
          </button>
        </li>
      ))}
    </ul>
  </>
);

const Effect = ({ plan }: { readonly plan: Plan }): ReactNode => (
  <>
    <h2>
      {isSameRules(plan.diff) ? "The same rules as in force" : "Compared with the rules in force"}
      <span className="badge">generation {plan.generation}</span>
    </h2>
    <DiffView diff={plan.diff} />
    <EffectTable live={plan.live} />
  </>
);
