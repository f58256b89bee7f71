import { type FormEvent, type ReactNode, useState } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { useSession } from "../shell/session.ts";
import { Empty } from "../ui/empty.tsx";
import { Failure } from "../ui/failure.tsx";
import { Page } from "../ui/page.tsx";
import { TryField } from "./try-field.tsx";
import { type TryFaults, type TryForm, tryRequestOf } from "./try-request.ts";
import { TryResult } from "./try-result.tsx";

const LEAD =
  "Ask as a user would, under the rules in force: which rule applies, why, and what the user would see. Each try has an entry in the audit.";

const BLANK: TryForm = { user: '{ "sub": "ada" }', collection: "", filter: "", documentId: "" };

type Phase =
  | { readonly kind: "idle" | "busy" }
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "answered"; readonly answer: AnswerOf<"tryAs"> };

/** Tries a request of a user. */
export default function TryView(): ReactNode {
  const { api, roles } = useSession();
  const [form, setForm] = useState(BLANK);
  const [faults, setFaults] = useState<TryFaults>({});
  const [phase, setPhase] = useState<Phase>({ kind: "idle" });
  const field = (name: keyof TryForm) => ({
    value: form[name],
    fault: faults[name],
    onValue: (value: string) => setForm({ ...form, [name]: value }),
  });
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const read = tryRequestOf(form);
    setFaults("faults" in read ? read.faults : {});
    if ("faults" in read) return;
    setPhase({ kind: "busy" });
    try {
      setPhase({ kind: "answered", answer: await api.call("tryAs", read.request) });
    } catch (error) {
      setPhase({ kind: "failed", error });
    }
  };
  return (
    <Page title="Try" lead={LEAD}>
      <div className="workbench">
        <form className="panel stack form" onSubmit={(event) => void submit(event)}>
          <TryField
            {...field("user")}
            title="User"
            rows={6}
            hint="The claims as JSON, or a token: the page reads its claims and sends nothing else of it. Empty: an anonymous user."
          />
          <TryField {...field("collection")} title="Collection" hint="The name that clients use." isSearch />
          <TryField
            {...field("filter")}
            title="Filter of the client"
            rows={3}
            hint="JSON. Empty: every document."
          />
          {roles.has("documents") ? (
            <TryField
              {...field("documentId")}
              title="One document (_id)"
              hint={'To see what decides about it. A text, a number, or Extended JSON such as {"$oid": "…"}.'}
            />
          ) : (
            <p className="hint">
              To see documents and what decides about one, a token needs the role documents.
            </p>
          )}
          <div className="actions">
            <button type="submit" className="primary" disabled={phase.kind === "busy"}>
              Try
            </button>
          </div>
        </form>
        <Result phase={phase} />
      </div>
    </Page>
  );
}

const Result = ({ phase }: { readonly phase: Phase }): ReactNode => (
  <section aria-label="Result" aria-busy={phase.kind === "busy"}>
    {phase.kind === "answered" ? (
      <TryResult answer={phase.answer} />
    ) : phase.kind === "failed" ? (
      <Failure error={phase.error} />
    ) : (
      <Empty title={phase.kind === "busy" ? "Asking the node …" : "Nothing was tried yet"}>
        Write the claims of a user and the name of a collection.
      </Empty>
    )}
  </section>
);
