import { type ReactNode, useCallback } from "react";
import { useSession } from "../shell/session.ts";
import { ConflictWays } from "./conflict-ways.tsx";
import { type Draft, draftAfterApply } from "./draft.ts";
import { EditDialog } from "./edit-dialog.tsx";

interface ApplyDialogProps {
  readonly draft: Draft;
  readonly isOpen: boolean;
  readonly onDraft: (draft: Draft) => void;
  readonly onApplied: () => void;
  readonly onClose: () => void;
}

/** Applies the draft as a new rule set. */
export function ApplyDialog({ draft, isOpen, onDraft, onApplied, onClose }: ApplyDialogProps): ReactNode {
  const { api } = useSession();
  const { text, tests } = draft;
  // A draft that does not say where it begins can be applied only if no set is in force.
  const parent = draft.parent ?? 0;
  const ask = useCallback(
    (message: string | null, signal?: AbortSignal) => {
      const given = message === null ? { dryRun: true } : { message };
      const edit = { text, tests: tests.trim() === "" ? null : tests, parent, ...given };
      return api.call("applyRules", edit, signal === undefined ? {} : { signal });
    },
    [api, text, tests, parent],
  );
  return (
    <EditDialog
      title="Apply the draft"
      verb="Apply"
      isOpen={isOpen}
      message={draft.message}
      onMessage={(message) => onDraft({ ...draft, message })}
      ask={ask}
      onApplied={(set) => {
        onDraft(draftAfterApply(draft, set));
        onApplied();
      }}
      onClose={onClose}
      conflictWays={(conflict) => <ConflictWays conflict={conflict} draft={draft} onDraft={onDraft} />}
    />
  );
}
