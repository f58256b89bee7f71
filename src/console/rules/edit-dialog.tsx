import { type ReactNode, useId } from "react";
import { ApiFailure, NoAnswer } from "../api/failures.ts";
import { Dialog } from "../ui/dialog.tsx";
import { Failure } from "../ui/failure.tsx";
import { count } from "../ui/numbers.ts";
import { Acknowledgements } from "./acknowledgements.tsx";
import { DiffView, isSameRules } from "./diff-view.tsx";
import { EffectTable } from "./effect-table.tsx";
import { ReplayResult } from "./replay-panel.tsx";
import { TestFailures } from "./test-failures.tsx";
import { Unconfirmed } from "./unconfirmed.tsx";
import { type AskedEdit, type Conflict, type EditAnswer, useEdit } from "./use-edit.ts";

/** The effect of an edit that could take effect. */
type Effect = Extract<EditAnswer, { readonly applied: unknown }>;

interface EditDialogProps extends AskedEdit {
  readonly title: string;
  /** The button that applies the edit. */
  readonly verb: string;
  readonly isOpen: boolean;
  readonly onMessage: (message: string) => void;
  readonly onClose: () => void;
  /** The ways out of a conflict. */
  readonly conflictWays: (conflict: Conflict) => ReactNode;
}

/** An edit of the rules before and after it is applied: its tests and its effect, the reason, and then each node. */
export const EditDialog = (props: EditDialogProps): ReactNode => (
  <Dialog title={props.title} isOpen={props.isOpen} onClose={props.onClose} isWide>
    <Edit {...props} />
  </Dialog>
);

function Edit(props: EditDialogProps): ReactNode {
  const { phase, plan, apply, onConfirmed } = useEdit(props);
  if (phase.kind === "planning") return <p className="hint">Running the tests, and computing the effect …</p>;
  if (phase.kind === "failed")
    return (
      <div className="stack">
        <Failure error={phase.error} onRetry={() => plan()} />
        {phase.wasApplying && isUncertain(phase.error) ? (
          <p>
            The edit may have taken effect, or not. Try again as soon as the node answers: an edit is never
            applied twice, because it starts from one set.
          </p>
        ) : null}
      </div>
    );
  if (phase.kind === "applied") return <Acknowledgements set={phase.set} onClose={props.onClose} />;
  if (phase.kind === "unconfirmed")
    return <Unconfirmed set={phase.set} text={phase.text} onConfirmed={onConfirmed} onRetry={() => plan()} />;
  const { answer } = phase;
  if ("conflict" in answer) return <ConflictNotice conflict={answer.conflict} ways={props.conflictWays} />;
  if ("problems" in answer) return <Problems problems={answer.problems} />;
  if ("failures" in answer) return <TestFailures outcome={answer} />;
  return (
    <div className="stack">
      <Summary effect={answer} />
      {answer.isSame ? (
        <p className="notice">The rule set in force has these rules and tests already.</p>
      ) : (
        <Confirm {...props} isBusy={phase.kind === "applying"} onConfirm={() => void apply(answer)} />
      )}
    </div>
  );
}

/** Whether the edit may have taken effect although it failed. */
const isUncertain = (error: unknown): boolean =>
  error instanceof NoAnswer || (error instanceof ApiFailure && error.code === "unconfirmed");

const Summary = ({ effect }: { readonly effect: Effect }): ReactNode => (
  <div className="stack">
    <p>
      {effect.tests === 0 ? (
        <span className="badge warn">no tests</span>
      ) : (
        <>
          <span className="badge good">passed</span> {count(effect.tests, "test")}
        </>
      )}
    </p>
    {isSameRules(effect.diff) ? <p>The rules stay the same. Only tests or comments differ.</p> : null}
    <div className="stack-small">
      <DiffView diff={effect.diff} />
    </div>
    <div className="stack-small">
      <EffectTable live={effect.live} />
    </div>
    {effect.replay === null ? null : (
      <div className="stack-small">
        <ReplayResult replay={effect.replay} />
      </div>
    )}
  </div>
);

interface ConfirmProps extends Pick<EditDialogProps, "verb" | "message" | "onMessage" | "onClose"> {
  readonly isBusy: boolean;
  readonly onConfirm: () => void;
}

function Confirm({ verb, message, onMessage, onClose, isBusy, onConfirm }: ConfirmProps): ReactNode {
  const id = useId();
  return (
    <form
      className="stack-small confirm"
      onSubmit={(event) => {
        event.preventDefault();
        onConfirm();
      }}
    >
      <div className="field">
        <label htmlFor={id}>Reason, for the history</label>
        <textarea
          id={id}
          rows={2}
          maxLength={1_000}
          required
          value={message}
          onChange={({ target }) => onMessage(target.value)}
          aria-describedby={`${id}-hint`}
        />
        <p id={`${id}-hint`} className="hint">
          It takes effect at one commit, on every node and for every user. Anyone with the role edit can
          revert it.
        </p>
      </div>
      <div className="actions">
        <button type="submit" className="primary" disabled={isBusy || message.trim() === ""}>
          {isBusy ? "Applying …" : verb}
        </button>
        <button type="button" className="quiet" onClick={onClose} disabled={isBusy}>
          Cancel
        </button>
      </div>
    </form>
  );
}

interface ConflictNoticeProps {
  readonly conflict: Conflict;
  readonly ways: EditDialogProps["conflictWays"];
}

const ConflictNotice = ({ conflict, ways }: ConflictNoticeProps): ReactNode => (
  <div className="stack">
    <p className="notice warn" role="alert">
      Nothing was applied: another edit came into force since yours began.
    </p>
    {ways(conflict)}
  </div>
);

type Problem = Extract<EditAnswer, { readonly problems: unknown }>["problems"][number];

const Problems = ({ problems }: { readonly problems: readonly Problem[] }): ReactNode => (
  <div className="stack-small">
    <p className="notice warn" role="alert">
      Nothing was applied: {count(problems.length, "mistake")}.
    </p>
    <ul className="parts">
      {problems.map(({ line, column, path, message }) => (
        <li key={`${line}:${column}:${path}:${message}`}>
          line {line}: <code>{path}</code> {message}
        </li>
      ))}
    </ul>
  </div>
);
