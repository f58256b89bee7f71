import { type FormEvent, type ReactNode, useEffect, useState } from "react";
import { goTo } from "../shell/route.ts";
import { useSession } from "../shell/session.ts";
import { TryField } from "../try/try-field.tsx";
import { Failure } from "../ui/failure.tsx";
import { formOf, type Kind, type SubjectFaults, type SubjectForm, subjectOf } from "./subject.ts";

const KINDS: readonly (readonly [Kind, string])[] = [
  ["sub", "A user"],
  ["live-query", "A live query"],
  ["document", "A document"],
];

const TIMES: readonly (readonly [seconds: number, text: string])[] = [
  [60, "1 minute"],
  [120, "2 minutes"],
  [300, "5 minutes"],
  [600, "10 minutes"],
];

interface KindChoiceProps {
  readonly kind: Kind;
  readonly onKind: (kind: Kind) => void;
}

const KindChoice = ({ kind, onKind }: KindChoiceProps): ReactNode => (
  <fieldset className="choice">
    <legend>Follow</legend>
    {KINDS.map(([name, title]) => (
      <label key={name}>
        <input type="radio" name="kind" checked={kind === name} onChange={() => onKind(name)} />
        <span>{title}</span>
      </label>
    ))}
  </fieldset>
);

interface SubjectFieldsProps {
  readonly kind: Kind;
  readonly field: (name: Exclude<keyof SubjectForm, "kind">) => {
    readonly value: string;
    readonly fault: string | undefined;
    readonly onValue: (value: string) => void;
  };
}

function SubjectFields({ kind, field }: SubjectFieldsProps): ReactNode {
  if (kind === "sub")
    return (
      <TryField
        {...field("sub")}
        title="User (sub)"
        hint="The exact sub of the user's token. The user may connect later."
        isSearch
      />
    );
  if (kind === "live-query")
    return (
      <TryField
        {...field("liveQuery")}
        title="Live query"
        hint="The id, as Live queries shows it. Trace this live query fills it in."
        isSearch
      />
    );
  return (
    <div className="pair">
      <TryField {...field("collection")} title="Collection" hint="The name that clients use." isSearch />
      <TryField
        {...field("documentId")}
        title="Document (_id)"
        hint={'A text, a number, or Extended JSON such as {"$oid": "…"}.'}
      />
    </div>
  );
}

/** Chooses the subject of a trace and begins it. @param fields The subject in the address. */
export function TraceForm({ fields }: { readonly fields: Readonly<Record<string, string>> }): ReactNode {
  const { api, roles } = useSession();
  const [form, setForm] = useState(() => formOf(fields));
  const [seconds, setSeconds] = useState(120);
  const [faults, setFaults] = useState<SubjectFaults>({});
  const [phase, setPhase] = useState<{ readonly isBusy: boolean; readonly error: unknown }>({
    isBusy: false,
    error: null,
  });
  const key = JSON.stringify(fields);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key says whether the fields are others.
  useEffect(() => setForm(formOf(fields)), [key]);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const read = subjectOf(form);
    setFaults("faults" in read ? read.faults : {});
    if ("faults" in read) return;
    setPhase({ isBusy: true, error: null });
    try {
      const { id } = await api.call("startTrace", { ...read.subject, seconds });
      goTo("trace", { id });
    } catch (error) {
      setPhase({ isBusy: false, error });
    }
  };
  const field = (name: Exclude<keyof SubjectForm, "kind">) => ({
    value: form[name],
    fault: faults[name],
    onValue: (value: string) => setForm({ ...form, [name]: value }),
  });
  return (
    <form className="panel stack form trace-form" onSubmit={(event) => void submit(event)}>
      <KindChoice kind={form.kind} onKind={(kind) => setForm({ ...form, kind })} />
      <SubjectFields kind={form.kind} field={field} />
      <label className="field">
        <span>For</span>
        <select value={seconds} onChange={({ target }) => setSeconds(Number(target.value))}>
          {TIMES.map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
      </label>
      {roles.has("documents") ? null : (
        <p className="notice">
          Values will be <span className="badge">redacted</span>: for contents of documents, a token needs the
          role documents.
        </p>
      )}
      {phase.error === null ? null : <Failure error={phase.error} />}
      <div className="actions">
        <button type="submit" className="primary" disabled={phase.isBusy}>
          Start the trace
        </button>
        <span className="hint">The start has an entry in the audit.</span>
      </div>
    </form>
  );
}
