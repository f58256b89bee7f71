import { type ReactNode, useCallback, useState } from "react";
import { Page } from "../ui/page.tsx";
import type { Draft } from "./draft.ts";
import { DraftBar } from "./draft-bar.tsx";
import { keepDraft, readDraft } from "./draft-store.ts";
import { Editor } from "./editor.tsx";
import { OpenDraft } from "./open-draft.tsx";
import { PlanPanel } from "./plan-panel.tsx";
import { TestsPanel } from "./tests-panel.tsx";
import { useCheck } from "./use-check.ts";

const LEAD =
  "Edit a copy of the configuration and see its effect on the users of this moment. Nothing takes effect here.";

/** The rules: an editor, and the effect of the draft beside it. */
export default function RulesView(): ReactNode {
  const [draft, setDraft] = useState(readDraft);
  const [isKept, setIsKept] = useState(true);
  const change = useCallback((edited: Draft | null) => {
    setDraft(edited);
    setIsKept(keepDraft(edited));
  }, []);
  return (
    <Page title="Rules" lead={LEAD}>
      {draft === null ? (
        <OpenDraft onOpen={change} />
      ) : (
        <Workbench draft={draft} isKept={isKept} onChange={change} />
      )}
    </Page>
  );
}

interface WorkbenchProps {
  readonly draft: Draft;
  /** Whether the draft would survive a reload. */
  readonly isKept: boolean;
  readonly onChange: (draft: Draft | null) => void;
}

function Workbench({ draft, isKept, onChange }: WorkbenchProps): ReactNode {
  const check = useCheck(draft.text);
  const [goal, setGoal] = useState<{ line: number; request: number } | null>(null);
  const onLine = (line: number) => setGoal((before) => ({ line, request: (before?.request ?? 0) + 1 }));
  return (
    <>
      <DraftBar draft={draft} onChange={onChange} />
      {isKept ? null : (
        <p className="notice warn" role="status">
          The browser cannot keep this draft over a reload, because its store is full. Save the file.
        </p>
      )}
      <div className="workbench">
        <Editor
          text={draft.text}
          problems={check.problems}
          onText={(text) => onChange({ ...draft, text })}
          goal={goal}
        />
        <PlanPanel check={check} onLine={onLine} />
      </div>
      <TestsPanel
        draft={draft}
        isValid={check.problems.length === 0}
        onTests={(tests) => onChange({ ...draft, tests })}
      />
    </>
  );
}
