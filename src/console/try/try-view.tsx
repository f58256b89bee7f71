import { type FormEvent, type ReactNode, useEffect, useState } from "react";
import type { SentTo } from "../../admin/api/endpoints.ts";
import { readDraft } from "../rules/draft-store.ts";
import { useFields } from "../shell/route.ts";
import { useSession } from "../shell/session.ts";
import { Empty } from "../ui/empty.tsx";
import { Page } from "../ui/page.tsx";
import { DraftChoice } from "./draft-choice.tsx";
import { keepForm, readForm } from "./kept-form.ts";
import { LiveResult } from "./live-result.tsx";
import { TryField } from "./try-field.tsx";
import { formFor, type TryFaults, type TryForm, tryRequestOf } from "./try-request.ts";
import { UserFields } from "./user-fields.tsx";

const LEAD =
  "Ask as a user would, under the rules in force and under your draft: which rule applies, why, and what the user would see. Each try has an entry in the audit.";

/** Tries a request of a user. */
export default function TryView(): ReactNode {
  const { roles } = useSession();
  const fields = useFields();
  const [form, setForm] = useState(() => formFor(fields, readForm().form));
  const [faults, setFaults] = useState<TryFaults>({});
  const [withDraft, setWithDraft] = useState(true);
  const mayCompare = roles.has("edit") && (form.from === "claims" || roles.has("documents"));
  const [request, setRequest] = useState(() =>
    readForm().wasTried && fields["connection"] === undefined ? requestOf(form, mayCompare) : null,
  );
  const key = JSON.stringify(fields);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key says whether the fields are others.
  useEffect(() => setForm((edited) => formFor(fields, edited)), [key]);
  const change = (edited: TryForm) => {
    setForm(edited);
    keepForm(edited, request !== null);
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const read = tryRequestOf(form);
    setFaults("faults" in read ? read.faults : {});
    if ("faults" in read) return;
    keepForm(form, true);
    setRequest(requestOf(form, withDraft && mayCompare));
  };
  const field = (name: Exclude<keyof TryForm, "from">) => ({
    value: form[name],
    fault: faults[name],
    onValue: (value: string) => change({ ...form, [name]: value }),
  });
  return (
    <Page title="Try" lead={LEAD}>
      <form className="panel form try-form" onSubmit={submit}>
        <UserFields from={form.from} onFrom={(from) => change({ ...form, from })} field={field} />
        <div className="stack">
          <TryField {...field("collection")} title="Collection" hint="The name that clients use." isSearch />
          <TryField
            {...field("filter")}
            title="Filter of the client"
            rows={2}
            hint="JSON. Empty: every document."
          />
        </div>
        <div className="stack">
          <DocumentField {...field("documentId")} />
          <DraftChoice isAllowed={mayCompare} isChosen={withDraft} onChoice={setWithDraft} />
          <div className="actions">
            <button type="submit" className="primary">
              Try
            </button>
          </div>
        </div>
      </form>
      <Result request={request} />
    </Page>
  );
}

const Result = ({ request }: { readonly request: SentTo<"tryAs"> | null }): ReactNode => (
  <section aria-label="Result">
    {request === null ? (
      <Empty title="Nothing was tried yet">
        Write the claims of a user and the name of a collection. The result stays up to date while you look at
        it.
      </Empty>
    ) : (
      <LiveResult request={request} />
    )}
  </section>
);

/** The request of a form that has no mistakes. */
function requestOf(form: TryForm, withDraft: boolean): SentTo<"tryAs"> | null {
  const read = tryRequestOf(form);
  if ("faults" in read) return null;
  const draft = withDraft ? (readDraft()?.text ?? null) : null;
  return { ...read.request, draft };
}

function DocumentField(field: {
  readonly value: string;
  readonly fault: string | undefined;
  readonly onValue: (value: string) => void;
}): ReactNode {
  const { roles } = useSession();
  if (!roles.has("documents"))
    return (
      <p className="hint">To see documents and what decides about one, a token needs the role documents.</p>
    );
  return (
    <TryField
      {...field}
      title="One document (_id)"
      hint={'To see what decides about it. A text, a number, or Extended JSON such as {"$oid": "…"}.'}
    />
  );
}
