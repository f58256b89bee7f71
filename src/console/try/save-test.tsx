import { type ReactNode, useState } from "react";
import type { SentTo } from "../../admin/api/endpoints.ts";
import { failureText } from "../api/failures.ts";
import { draftOf } from "../rules/begin.ts";
import { keepDraft, readDraft } from "../rules/draft-store.ts";
import { hrefOf } from "../shell/address.ts";
import { useSession } from "../shell/session.ts";
import type { Outcome, TriedUser } from "./compare.ts";
import { testOf, withTest } from "./rule-test.ts";

interface SaveTestProps {
  readonly request: SentTo<"tryAs">;
  readonly outcome: Outcome;
  /** The user of a connection; `null` if the request has the claims. */
  readonly user: TriedUser | null;
}

type Saved = { readonly name: string } | { readonly refused: string };

/** Writes a rule test that expects an outcome into the draft, which it begins if there is none. */
export function SaveTest({ request, outcome, user }: SaveTestProps): ReactNode {
  const { api } = useSession();
  const [saved, setSaved] = useState<Saved | null>(null);
  const test = testOf(request, outcome, user);
  if (test === null) return null;
  const save = async () => {
    try {
      const draft = readDraft() ?? draftOf(await api.call("rules", {}));
      const edited = withTest(draft, test);
      if (edited === null)
        setSaved({ refused: "The tests of the draft have mistakes. Correct them in Rules." });
      else if (keepDraft(edited)) setSaved({ name: edited.name });
      else setSaved({ refused: "The browser cannot keep the draft, because its store is full." });
    } catch (error) {
      setSaved({ refused: failureText(error) });
    }
  };
  const usesLookups = outcome.document?.found === true && outcome.given === null;
  return (
    <div>
      <div className="actions">
        <button type="button" onClick={() => void save()}>
          Save as test
        </button>
        <span className="hint">
          Expects this outcome. The test holds the whole document
          {user === null ? "" : " and the claims of the user"}, and every admin can read the tests of applied
          rules.
          {usesLookups ? " Add the documents of its lookups (given), which cannot be made up." : ""}
        </span>
      </div>
      <div role="status">
        {saved === null ? null : "name" in saved ? (
          <p className="notice">
            Saved in the tests of <code>{saved.name}</code>. <a href={hrefOf("rules")}>Rules</a> runs them.
          </p>
        ) : (
          <p className="bad">{saved.refused}</p>
        )}
      </div>
    </div>
  );
}
