import type { ReactNode } from "react";
import { visibleText } from "../ui/visible-text.ts";
import type { Plan } from "./problem.ts";

type Diff = Plan["diff"];

/** Whether two rule sets differ only in their tests and their comments. */
export const isSameRules = ({ collections, limits }: Diff): boolean =>
  collections.length === 0 && limits.length === 0;

/** How the rules of two sets differ: each rule that changes, and whether it allows more or less. */
export const DiffView = ({ diff }: { readonly diff: Diff }): ReactNode => (
  <>
    {diff.collections.map(({ collection, change, parts, rules }) => (
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
    {diff.limits.length === 0 ? null : (
      <div className="diff">
        <h3>Limits of requests</h3>
        <Parts parts={diff.limits} />
      </div>
    )}
  </>
);

const Parts = ({ parts }: { readonly parts: Diff["limits"] }): ReactNode =>
  parts.length === 0 ? null : (
    <ul className="parts">
      {parts.map(({ part, effect, to }) => (
        <li key={part}>
          <code>{part}</code> {effect === "" ? null : <strong>{effect}</strong>}
          {to === null ? null : <pre>{visibleText(to)}</pre>}
        </li>
      ))}
    </ul>
  );
