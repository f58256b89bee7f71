import { type ReactNode, useId } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { useSession } from "../shell/session.ts";
import { Failure } from "../ui/failure.tsx";
import { FileButton } from "../ui/file-button.tsx";
import { FileFailure } from "../ui/file-failure.tsx";
import { count } from "../ui/numbers.ts";
import { save } from "../ui/save.ts";
import { useFile } from "../ui/use-file.ts";
import { collectionsText } from "./collections-text.ts";
import type { Draft } from "./draft.ts";
import { TestFailures } from "./test-failures.tsx";
import { UntestedParts } from "./untested-parts.tsx";
import { useLatest } from "./use-latest.ts";

/** Longer than that of the check, because a run takes a thread of the node. */
const PAUSE_MS = 400;

interface TestsPanelProps {
  readonly draft: Draft;
  /** Whether the tests are saved with the draft, as a rule set. */
  readonly isRuleSet: boolean;
  /** Whether the draft has no mistakes. */
  readonly isValid: boolean;
  readonly onTests: (tests: string) => void;
}

/** The tests of the rules, run on the draft while either is being edited. */
export function TestsPanel({
  draft: { text, tests },
  isRuleSet,
  isValid,
  onTests,
}: TestsPanelProps): ReactNode {
  const { api } = useSession();
  const key = tests.trim() === "" || !isValid ? null : JSON.stringify([text, tests]);
  const latest = useLatest(
    key,
    (signal) => api.call("testRules", { text: collectionsText(text), tests }, { signal }),
    PAUSE_MS,
  );
  return (
    <section className="panel stack tests" aria-label="Tests of the rules" aria-busy={latest.isPending}>
      <h2>Tests</h2>
      <div className="workbench">
        <TestsField tests={tests} isRuleSet={isRuleSet} onTests={onTests} />
        <div role="status">
          {key === null ? (
            <NoOutcome isValid={isValid} />
          ) : latest.error !== null ? (
            <Failure error={latest.error} />
          ) : latest.value === null ? (
            <p className="hint">Running …</p>
          ) : (
            <Outcome answer={latest.value} />
          )}
        </div>
      </div>
    </section>
  );
}

interface TestsFieldProps {
  readonly tests: string;
  readonly isRuleSet: boolean;
  readonly onTests: (tests: string) => void;
}

/** The text of the tests, with the ways to open and save it. */
function TestsField({ tests, isRuleSet, onTests }: TestsFieldProps): ReactNode {
  const id = useId();
  const file = useFile(onTests);
  return (
    <div className="field">
      <label htmlFor={id}>Tests, in YAML</label>
      <textarea
        id={id}
        rows={12}
        spellCheck={false}
        value={tests}
        onChange={({ target }) => onTests(target.value)}
        aria-describedby={`${id}-hint`}
      />
      <p id={`${id}-hint`} className="hint">
        As in a file for <code>tidewire test-rules</code>.{" "}
        {isRuleSet
          ? "They are saved with the rules. A draft with a failing test cannot be applied."
          : "No document is read, and nothing takes effect."}
      </p>
      <FileFailure error={file.error} />
      <div className="actions">
        <FileButton label="File of tests" onFile={file.read}>
          Open tests …
        </FileButton>
        <button
          type="button"
          disabled={tests === ""}
          onClick={() => save("tidewire.test.yaml", tests, "application/yaml")}
        >
          Save the tests
        </button>
      </div>
    </div>
  );
}

const NoOutcome = ({ isValid }: Pick<TestsPanelProps, "isValid">): ReactNode => (
  <p className="hint">
    {isValid
      ? "Without tests, nothing says whether the draft still does what it was written for."
      : "Tests run as soon as the draft has no mistakes."}
  </p>
);

function Outcome({ answer }: { readonly answer: AnswerOf<"testRules"> }): ReactNode {
  if ("problems" in answer)
    return (
      <>
        <h3>
          <span className="badge bad">not run</span> {count(answer.problems.length, "mistake")}
        </h3>
        <ul className="parts">
          {answer.problems.map(({ line, column, path, message }) => (
            <li key={`${line}:${column}:${path}:${message}`}>
              line {line}: <code>{path}</code> {message}
            </li>
          ))}
        </ul>
      </>
    );
  return (
    <div className="stack-small">
      {answer.failed === 0 ? (
        <p>
          <span className="badge good">passed</span> {count(answer.tests, "test")}
        </p>
      ) : (
        <TestFailures outcome={answer} />
      )}
      <UntestedParts untested={answer.untested} />
    </div>
  );
}
