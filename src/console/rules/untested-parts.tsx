import type { ReactNode } from "react";
import { count } from "../ui/numbers.ts";
import type { TestOutcome } from "./test-failures.tsx";

/** The service lists no more. */
const LISTED_MAX = 100;

/** The rules of a draft, and the branches of rules, that none of its tests reaches. */
export const UntestedParts = ({ untested }: Pick<TestOutcome, "untested">): ReactNode =>
  untested.length === 0 ? (
    <p className="hint">The tests reach every rule and every branch.</p>
  ) : (
    <details>
      <summary>
        {count(untested.length, "rule or branch", "rules and branches")} that no test reaches
        {untested.length < LISTED_MAX ? "" : ", and perhaps more"}
      </summary>
      <ul className="parts">
        {untested.map(({ collection, rule, part, branch }) => (
          <li key={JSON.stringify([collection, rule, part, branch])}>
            <code>{collection}</code>, {rule}
            {part === null ? null : (
              <>
                , a branch of <code>{part}</code>
                <pre>{branch}</pre>
              </>
            )}
          </li>
        ))}
      </ul>
    </details>
  );
