import { type ReactNode, useCallback, useState } from "react";
import { hrefOf } from "../shell/address.ts";
import { goTo, useFields } from "../shell/route.ts";
import { useSession } from "../shell/session.ts";
import { Failure } from "../ui/failure.tsx";
import { Page } from "../ui/page.tsx";
import { useAnswer } from "../ui/use-answer.ts";
import type { Draft } from "./draft.ts";
import { keepDraft, readDraft } from "./draft-store.ts";
import { History } from "./history.tsx";
import { OpenDraft } from "./open-draft.tsx";
import { Workbench } from "./workbench.tsx";

/** How often the page asks whether another admin has applied something. */
const REFRESH_MS = 3_000;

const FILE_LEAD =
  "Edit a copy of the configuration and see its effect on the users of this moment. Nothing takes effect here.";
const VIEWER_LEAD =
  "Read the rules and their history, and run tests on a copy of them. To see the effect of an edit, or to apply it, a token needs the role edit.";
const DATABASE_LEAD =
  "Edit the rules, see the effect on the users of this moment, and apply them to every node at one commit.";

/** The rules: an editor with the effect of the draft beside it, and the history of the rule sets. */
export default function RulesView(): ReactNode {
  const { roles } = useSession();
  const [draft, setDraft] = useState(readDraft);
  const [isKept, setIsKept] = useState(true);
  const isHistory = useFields()["show"] === "history";
  const { value, error, reload } = useAnswer("ruleNodes", {}, REFRESH_MS);
  const change = useCallback((edited: Draft | null) => {
    setDraft(edited);
    setIsKept(keepDraft(edited));
  }, []);
  const isRuleSet = value?.from === "database";
  return (
    <Page
      title="Rules"
      lead={!roles.has("edit") ? VIEWER_LEAD : isRuleSet ? DATABASE_LEAD : FILE_LEAD}
      actions={isRuleSet ? <Tabs isHistory={isHistory} inForce={value.inForce} /> : undefined}
    >
      {value === null ? (
        error === null ? (
          <p className="starting">Loading …</p>
        ) : (
          <Failure error={error} onRetry={reload} />
        )
      ) : isRuleSet && isHistory ? (
        <History
          inForce={value.inForce}
          onReverted={reload}
          onDraft={(opened) => {
            change(opened);
            goTo("rules");
          }}
        />
      ) : draft === null ? (
        <OpenDraft isRuleSet={isRuleSet} onOpen={change} />
      ) : (
        <Workbench draft={draft} isKept={isKept} state={value} onChange={change} onApplied={reload} />
      )}
    </Page>
  );
}

interface TabsProps {
  readonly isHistory: boolean;
  readonly inForce: number;
}

const Tabs = ({ isHistory, inForce }: TabsProps): ReactNode => (
  <nav className="tabs" aria-label="Parts of the rules">
    <span className="badge good">set {inForce} in force</span>
    <a href={hrefOf("rules")} aria-current={isHistory ? undefined : "page"}>
      Editor
    </a>
    <a href={hrefOf("rules", { show: "history" })} aria-current={isHistory ? "page" : undefined}>
      History
    </a>
  </nav>
);
