import type { ReactNode } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { count } from "../ui/numbers.ts";

/** The outcome of tests. */
export type TestOutcome = Extract<AnswerOf<"testRules">, { readonly failures: unknown }>;

/** The tests of a draft that fail, each with its line and the reason. */
export const TestFailures = ({ outcome }: { readonly outcome: TestOutcome }): ReactNode => (
  <>
    <h3>
      <span className="badge bad">failed</span> {outcome.failed} of {count(outcome.tests, "test")}
    </h3>
    <ul className="parts failures">
      {outcome.failures.map(({ line, column, test, collection, expected, found, because }) => (
        <li key={`${line}:${column}:${test}`}>
          <strong>{test}</strong>{" "}
          <span className="hint">
            line {line}, <code>{collection}</code>
          </span>
          <p>
            Expected {expected}, found {found}.
          </p>
          {because === null ? null : <p className="hint">{because}</p>}
        </li>
      ))}
    </ul>
  </>
);
