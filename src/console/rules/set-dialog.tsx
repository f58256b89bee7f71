import { type ReactNode, useCallback, useState } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { useSession } from "../shell/session.ts";
import { Dialog } from "../ui/dialog.tsx";
import { Facts } from "../ui/facts.tsx";
import { Failure } from "../ui/failure.tsx";
import { count } from "../ui/numbers.ts";
import { dateTime } from "../ui/times.ts";
import { useAnswer } from "../ui/use-answer.ts";
import { DiffView } from "./diff-view.tsx";
import { type Draft, draftOfSet } from "./draft.ts";
import { EditDialog } from "./edit-dialog.tsx";
import { SetList } from "./set-list.tsx";
import { TextDiff } from "./text-diff.tsx";

type Summary = AnswerOf<"ruleHistory">["sets"][number];

/** A set never changes, so that it is read once. */
const NEVER_MS = 2_000_000_000;

interface SetDialogProps {
  /** `null`: closed. */
  readonly set: Summary | null;
  readonly inForce: number;
  readonly onClose: () => void;
  readonly onDraft: (draft: Draft) => void;
  readonly onReverted: () => void;
}

/** One rule set: its edit, its text, and the way back to it. */
export function SetDialog({ set, inForce, onClose, onDraft, onReverted }: SetDialogProps): ReactNode {
  const [reverting, setReverting] = useState<number | null>(null);
  return (
    <>
      <Dialog
        title={set === null ? "Rule set" : `Rule set ${set.number}`}
        isOpen={set !== null && reverting === null}
        onClose={() => {
          if (reverting === null) onClose();
        }}
        isWide
      >
        {set === null ? null : (
          <Details set={set} inForce={inForce} onDraft={onDraft} onRevert={() => setReverting(set.number)} />
        )}
      </Dialog>
      {reverting === null ? null : (
        <Revert
          number={reverting}
          inForce={inForce}
          onReverted={onReverted}
          onClose={() => {
            setReverting(null);
            onClose();
          }}
        />
      )}
    </>
  );
}

interface DetailsProps extends Pick<SetDialogProps, "inForce" | "onDraft"> {
  readonly set: Summary;
  readonly onRevert: () => void;
}

function Details({ set, inForce, onDraft, onRevert }: DetailsProps): ReactNode {
  const { roles } = useSession();
  const { number, author, at, message, parent, testResult } = set;
  const { value, error } = useAnswer("ruleSet", { number }, NEVER_MS);
  return (
    <div className="stack">
      <p className="message">{message}</p>
      <Facts
        rows={[
          ["Author", author],
          ["Time", dateTime(at)],
          ["Made from", parent === 0 ? "nothing: it is the first set" : `set ${parent}`],
          ["Tests", testResult === null ? "none" : `${count(testResult.tests, "test")} passed`],
        ]}
      />
      {parent === 0 || value === null ? null : <ItsEdit parent={parent} set={value} />}
      {error !== null && value === null ? <Failure error={error} /> : null}
      {value === null ? null : (
        <details>
          <summary>The whole text</summary>
          <pre>{value.text}</pre>
          {value.tests === "" ? null : <pre>{value.tests}</pre>}
        </details>
      )}
      {number === inForce ? (
        <p className="hint">This set is in force.</p>
      ) : roles.has("edit") ? (
        <div className="actions">
          <button type="button" className="primary" onClick={onRevert}>
            Revert to set {number} …
          </button>
          <button
            type="button"
            disabled={value === null}
            onClick={() => (value === null ? undefined : onDraft(draftOfSet(value, inForce)))}
          >
            Open as a draft
          </button>
        </div>
      ) : (
        <p className="hint">
          To revert to this set, a token needs the role <code>edit</code>.
        </p>
      )}
    </div>
  );
}

/** How a set differs from the one before it: by its rules, and line by line. */
function ItsEdit({ parent, set }: { readonly parent: number; readonly set: AnswerOf<"ruleSet"> }): ReactNode {
  const rules = useAnswer("ruleSetDiff", { number: parent, to: set.number }, NEVER_MS);
  const before = useAnswer("ruleSet", { number: parent }, NEVER_MS);
  return (
    <div className="stack-small">
      <h3>Its edit</h3>
      {rules.value === null ? (
        rules.error === null ? (
          <p className="hint">Comparing the sets …</p>
        ) : (
          <Failure error={rules.error} />
        )
      ) : (
        <DiffView diff={rules.value.diff} />
      )}
      {before.value === null ? null : (
        <TextDiff
          label={`Lines that differ between set ${parent} and set ${set.number}`}
          before={`${before.value.text}${before.value.tests}`}
          after={`${set.text}${set.tests}`}
        />
      )}
    </div>
  );
}

interface RevertProps extends Pick<SetDialogProps, "inForce" | "onClose" | "onReverted"> {
  readonly number: number;
}

function Revert({ number, inForce, onClose, onReverted }: RevertProps): ReactNode {
  const { api } = useSession();
  const [message, setMessage] = useState(`Revert to rule set ${number}`);
  // The admin has seen the effect against this set, so that a later one has to be a conflict.
  const [parent, setParent] = useState(inForce);
  const ask = useCallback(
    (reason: string | null, signal?: AbortSignal) => {
      const given = reason === null ? { dryRun: true } : { message: reason };
      return api.call("revertRules", { number, parent, ...given }, signal === undefined ? {} : { signal });
    },
    [api, number, parent],
  );
  return (
    <EditDialog
      title={`Revert to rule set ${number}`}
      verb="Revert"
      isOpen
      message={message}
      onMessage={setMessage}
      ask={ask}
      onApplied={onReverted}
      onClose={onClose}
      conflictWays={(conflict) => (
        <>
          <SetList sets={conflict.since} />
          <div className="actions">
            <button type="button" className="primary" onClick={() => setParent(conflict.inForce)}>
              Plan the revert again, from set {conflict.inForce}
            </button>
          </div>
        </>
      )}
    />
  );
}
