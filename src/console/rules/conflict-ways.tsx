import { type ReactNode, useEffect, useState } from "react";
import { useSession } from "../shell/session.ts";
import { Failure } from "../ui/failure.tsx";
import { save } from "../ui/save.ts";
import { useAnswer } from "../ui/use-answer.ts";
import { DiffView, isSameRules } from "./diff-view.tsx";
import { type Draft, draftOfSet, type SavedSet } from "./draft.ts";
import { patchOf } from "./patch.ts";
import { rebased } from "./rebase.ts";
import { SetList } from "./set-list.tsx";
import type { Conflict } from "./use-edit.ts";

interface ConflictWaysProps {
  readonly conflict: Conflict;
  readonly draft: Draft;
  readonly onDraft: (draft: Draft) => void;
}

/** The edits of others since the draft began, and the ways to go on. */
export function ConflictWays({
  conflict: { inForce, since, text },
  draft,
  onDraft,
}: ConflictWaysProps): ReactNode {
  const { api } = useSession();
  const [theirs, setTheirs] = useState<SavedSet | null>(null);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    const abort = new AbortController();
    const onError = (failed: unknown) => (abort.signal.aborted ? undefined : setError(failed));
    api.call("ruleSet", { number: inForce }, { signal: abort.signal }).then(setTheirs, onError);
    return () => abort.abort();
  }, [api, inForce]);
  const merged = theirs === null ? null : rebased(draft, theirs);
  return (
    <>
      {since.length === 0 ? <p>{text}.</p> : <SetList sets={since} />}
      {draft.parent === null ? null : <TheirEdit from={draft.parent} to={inForce} />}
      {error === null ? null : <Failure error={error} />}
      {theirs === null ? null : (
        <>
          <p className="hint">
            {merged === null
              ? "Both edits change the same lines, so that yours cannot be put on top of theirs. Save yours before you load theirs."
              : "Your edit can be put on top of theirs. Its effect is computed again before you apply it."}
          </p>
          <div className="actions">
            {merged === null ? null : (
              <button type="button" className="primary" onClick={() => onDraft(merged)}>
                Put my edit on top of set {inForce}
              </button>
            )}
            {merged === null ? (
              <button
                type="button"
                className="primary"
                onClick={() => save(`${draft.name}.patch`, patchOf(draft), "text/x-diff")}
              >
                Save my edit as a patch
              </button>
            ) : null}
            <button type="button" onClick={() => onDraft(draftOfSet(theirs))}>
              Load set {inForce}, and discard my edit
            </button>
          </div>
        </>
      )}
    </>
  );
}

/** How the set in force differs from the one where the draft began. */
function TheirEdit({ from, to }: { readonly from: number; readonly to: number }): ReactNode {
  const { value, error } = useAnswer("ruleSetDiff", { number: from, to }, 60_000);
  if (value === null)
    return error === null ? <p className="hint">Comparing the sets …</p> : <Failure error={error} />;
  return (
    <div className="stack-small">
      <h3>
        From set {from} to set {to}
      </h3>
      <DiffView diff={value.diff} />
      {isSameRules(value.diff) ? (
        <p className="hint">The rules are the same. Only tests or comments differ.</p>
      ) : null}
    </div>
  );
}
