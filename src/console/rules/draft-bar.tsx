import type { ReactNode } from "react";
import { useSession } from "../shell/session.ts";
import { save } from "../ui/save.ts";
import { type Draft, fileOfDraft, isEdited } from "./draft.ts";
import { patchOf } from "./patch.ts";

interface DraftBarProps {
  readonly draft: Draft;
  /** Whether the draft is a rule set, because the rules are in the database. */
  readonly isRuleSet: boolean;
  /** Whether the draft has no mistakes. */
  readonly isValid: boolean;
  readonly onChange: (draft: Draft | null) => void;
  readonly onApply: () => void;
}

/** The name of the draft, and the ways out of the editor. */
export function DraftBar({ draft, isRuleSet, isValid, onChange, onApply }: DraftBarProps): ReactNode {
  const { roles } = useSession();
  const wasEdited = isEdited(draft);
  const close = () => {
    if (!wasEdited || confirm("Discard the draft and its tests? They are not saved anywhere."))
      onChange(null);
  };
  const undo = () => onChange({ ...draft, text: draft.base, tests: draft.baseTests });
  return (
    <div className="bar">
      <p className="grow">
        <code>{draft.name}</code>{" "}
        <span className={wasEdited ? "badge accent" : "badge"}>
          {wasEdited ? "edited" : "as it was opened"}
        </span>
      </p>
      <div className="actions">
        {isRuleSet && roles.has("edit") ? (
          <button type="button" className="primary" disabled={!wasEdited || !isValid} onClick={onApply}>
            Apply …
          </button>
        ) : null}
        <button
          type="button"
          disabled={draft.text === draft.base}
          onClick={() => save(`${draft.name}.patch`, patchOf(draft), "text/x-diff")}
        >
          Save as patch
        </button>
        <button type="button" onClick={() => save(draft.name, fileOfDraft(draft), "application/yaml")}>
          Save the file
        </button>
        <button type="button" disabled={!wasEdited} onClick={undo}>
          Undo all edits
        </button>
        <button type="button" className="quiet" onClick={close}>
          Close
        </button>
      </div>
      <HowToApply isRuleSet={isRuleSet} mayEdit={roles.has("edit")} />
    </div>
  );
}

interface HowToApplyProps {
  readonly isRuleSet: boolean;
  readonly mayEdit: boolean;
}

function HowToApply({ isRuleSet, mayEdit }: HowToApplyProps): ReactNode {
  if (!isRuleSet)
    return (
      <p className="hint full">
        The rules of this node are in its configuration file: save the draft, and put it there. To apply
        drafts from here, move the rules to the database with <code>tidewire rules push</code>.
      </p>
    );
  return mayEdit ? null : (
    <p className="hint full">
      To apply a draft, a token needs the role <code>edit</code>.
    </p>
  );
}
