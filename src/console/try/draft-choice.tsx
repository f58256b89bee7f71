import type { ReactNode } from "react";
import { readDraft } from "../rules/draft-store.ts";
import { hrefOf } from "../shell/address.ts";

interface DraftChoiceProps {
  /** Whether the admin may compare this user. */
  readonly isAllowed: boolean;
  readonly isChosen: boolean;
  readonly onChoice: (isChosen: boolean) => void;
}

/** Chooses whether the draft of the rules is tried as well. */
export function DraftChoice({ isAllowed, isChosen, onChoice }: DraftChoiceProps): ReactNode {
  const draft = readDraft();
  if (draft === null)
    return (
      <p className="hint">
        To compare with other rules, begin a draft in <a href={hrefOf("rules")}>Rules</a>.
      </p>
    );
  if (!isAllowed)
    return (
      <p className="hint">
        To compare with the draft, a token needs the role edit, and for a live connection the role documents
        as well: conditions of a draft could find out any claim.
      </p>
    );
  return (
    <label className="check">
      <input type="checkbox" checked={isChosen} onChange={({ target }) => onChoice(target.checked)} />
      <span>
        Compare with the draft <code>{draft.name}</code>
      </span>
    </label>
  );
}
