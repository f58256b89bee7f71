import type { ReactNode } from "react";
import { Failure } from "../ui/failure.tsx";
import { EffectTable } from "./effect-table.tsx";
import type { Plan, Problem } from "./problem.ts";
import type { Check } from "./use-check.ts";

interface PlanPanelProps {
  readonly check: Check;
  /** Shows a line in the editor. */
  readonly onLine: (line: number) => void;
}

/** The mistakes of a draft, or its effect. */
export function PlanPanel({ check, onLine }: PlanPanelProps): ReactNode {
  const { problems, plan, isPending, error } = check;
  return (
    <section className="panel plan" aria-label="Effect of the draft" aria-busy={isPending}>
      <p className="visually-hidden" role="status">
        {isPending ? "" : summaryOf(check)}
      </p>
      {problems.length > 0 ? (
        <Problems problems={problems} onLine={onLine} />
      ) : error !== null && !isPending ? (
        <Failure error={error} />
      ) : plan === null ? (
        <p className="hint">Checking …</p>
      ) : (
        <Effect plan={plan} />
      )}
    </section>
  );
}

function summaryOf({ problems, plan, error }: Check): string {
  if (problems.length > 0) return `${problems.length} mistakes`;
  if (error !== null) return "The draft could not be checked";
  return plan === null || hasSameRules(plan)
    ? "The same rules as in force"
    : "No mistakes; the effect is computed";
}

const hasSameRules = ({ diff }: Plan) => diff.collections.length === 0 && diff.limits.length === 0;

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
      {hasSameRules(plan) ? "The same rules as in force" : "Compared with the rules in force"}
      <span className="badge">generation {plan.generation}</span>
    </h2>
    {plan.diff.collections.map(({ collection, change, parts, rules }) => (
      <div className="diff" key={collection}>
        <h3>
          <code>{collection}</code> <span className={`badge ${change}`}>{change}</span>
        </h3>
        {change === "removed" ? <p>All of its subscriptions end.</p> : null}
        <Parts parts={parts} />
        {rules.map(({ rule, change: how, note, parts: ruleParts }) => (
          <div className="rule" key={`${how} ${rule}`}>
            <p>
              Rule <code>{rule}</code> <span className={`badge ${how}`}>{how}</span> {note}
            </p>
            <Parts parts={ruleParts} />
          </div>
        ))}
      </div>
    ))}
    {plan.diff.limits.length === 0 ? null : (
      <div className="diff">
        <h3>Limits of requests</h3>
        <Parts parts={plan.diff.limits} />
      </div>
    )}
    <EffectTable live={plan.live} />
  </>
);

type Part = Plan["diff"]["limits"][number];

const Parts = ({ parts }: { readonly parts: readonly Part[] }): ReactNode =>
  parts.length === 0 ? null : (
    <ul className="parts">
      {parts.map(({ part, effect, to }) => (
        <li key={part}>
          <code>{part}</code> {effect === "" ? null : <strong>{effect}</strong>}
          {to === null ? null : <pre>{to}</pre>}
        </li>
      ))}
    </ul>
  );
