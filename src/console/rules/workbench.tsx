import { type ReactNode, useState } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { useSession } from "../shell/session.ts";
import { ApplyDialog } from "./apply-dialog.tsx";
import type { Draft } from "./draft.ts";
import { DraftBar } from "./draft-bar.tsx";
import { Editor } from "./editor.tsx";
import { PlanPanel } from "./plan-panel.tsx";
import { TestsPanel } from "./tests-panel.tsx";
import { useCheck } from "./use-check.ts";

interface WorkbenchProps {
  readonly draft: Draft;
  /** Whether the draft would survive a reload. */
  readonly isKept: boolean;
  /** Where the rules are, and the set in force. */
  readonly state: AnswerOf<"ruleNodes">;
  readonly onChange: (draft: Draft | null) => void;
  /** Another set may be in force now. */
  readonly onApplied: () => void;
}

/** The draft in the editor, its effect beside it, and its tests below. */
export function Workbench({ draft, isKept, state, onChange, onApplied }: WorkbenchProps): ReactNode {
  const { from, inForce } = state;
  const isRuleSet = from === "database";
  const { roles } = useSession();
  const check = useCheck(draft.text, { isRuleSet, inForce });
  const [goal, setGoal] = useState<{ line: number; request: number } | null>(null);
  const [isApplying, setIsApplying] = useState(false);
  const onLine = (line: number) => setGoal((before) => ({ line, request: (before?.request ?? 0) + 1 }));
  const isValid = check.problems.length === 0;
  const isOvertaken = isRuleSet && !isApplying && (draft.parent ?? 0) !== inForce;
  return (
    <>
      <DraftBar
        draft={draft}
        isRuleSet={isRuleSet}
        isValid={isValid}
        onChange={onChange}
        onApply={() => setIsApplying(true)}
      />
      {isKept ? null : (
        <p className="notice warn" role="status">
          The browser cannot keep this draft over a reload, because its store is full. Save the file.
        </p>
      )}
      {isOvertaken ? (
        <div className="notice warn overtaken" role="status">
          <p>
            {draft.parent === null
              ? `This draft does not say from which rule set it starts. Set ${inForce} is in force.`
              : `Rule set ${inForce} is in force. This draft starts from set ${draft.parent}.`}
          </p>
          {roles.has("edit") ? (
            <button type="button" onClick={() => setIsApplying(true)}>
              Show the other edit
            </button>
          ) : null}
        </div>
      ) : null}
      <div className="workbench">
        <Editor
          text={draft.text}
          problems={check.problems}
          onText={(text) => onChange({ ...draft, text })}
          goal={goal}
        />
        <PlanPanel text={draft.text} inForce={inForce} check={check} onLine={onLine} />
      </div>
      <TestsPanel
        draft={draft}
        isRuleSet={isRuleSet}
        isValid={isValid}
        onTests={(tests) => onChange({ ...draft, tests })}
      />
      {isRuleSet ? (
        <ApplyDialog
          draft={draft}
          isOpen={isApplying}
          onDraft={onChange}
          onApplied={onApplied}
          onClose={() => setIsApplying(false)}
        />
      ) : null}
    </>
  );
}
