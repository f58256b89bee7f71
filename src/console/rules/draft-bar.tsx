import type { ReactNode } from "react";
import { save } from "../ui/save.ts";
import type { Draft } from "./draft.ts";
import { patchOf } from "./patch.ts";

interface DraftBarProps {
  readonly draft: Draft;
  readonly onChange: (draft: Draft | null) => void;
}

/** The name of the draft, and the ways out of the editor. */
export function DraftBar({ draft, onChange }: DraftBarProps): ReactNode {
  const isEdited = draft.text !== draft.base;
  const close = () => {
    const isLost = isEdited || draft.tests !== "";
    if (!isLost || confirm("Discard the draft and its tests? They are not saved anywhere.")) onChange(null);
  };
  return (
    <div className="bar">
      <p className="grow">
        <code>{draft.name}</code>{" "}
        <span className={isEdited ? "badge accent" : "badge"}>
          {isEdited ? "edited" : "as it was opened"}
        </span>
      </p>
      <div className="actions">
        <button
          type="button"
          disabled={!isEdited}
          onClick={() => save(`${draft.name}.patch`, patchOf(draft), "text/x-diff")}
        >
          Save as patch
        </button>
        <button type="button" onClick={() => save(draft.name, draft.text, "application/yaml")}>
          Save the file
        </button>
        <button type="button" disabled={!isEdited} onClick={() => onChange({ ...draft, text: draft.base })}>
          Undo all edits
        </button>
        <button type="button" className="quiet" onClick={close}>
          Close
        </button>
      </div>
    </div>
  );
}
