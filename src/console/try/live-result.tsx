import type { ReactNode } from "react";
import type { AnswerOf, SentTo } from "../../admin/api/endpoints.ts";
import { Empty } from "../ui/empty.tsx";
import { Failure } from "../ui/failure.tsx";
import { Stale } from "../ui/stale.tsx";
import { useAnswer } from "../ui/use-answer.ts";
import { compareDocuments, differenceText, type Outcome, type TriedUser } from "./compare.ts";
import { DocumentsTable } from "./documents-table.tsx";
import { OutcomeColumn } from "./outcome-column.tsx";

const REFRESH_MS = 2_000;

type Answer = AnswerOf<"tryAs">;
type Draft = NonNullable<Answer["draft"]>;

interface LiveResultProps {
  readonly request: SentTo<"tryAs">;
}

/** The outcome of a request, which is asked again while it is shown: the documents may change, and the rules as well. */
export function LiveResult({ request }: LiveResultProps): ReactNode {
  const { value, error, answeredAtMs } = useAnswer("tryAs", request, REFRESH_MS);
  if (value === null)
    return error === null ? (
      <Empty title="Asking the node …">A new draft takes a moment.</Empty>
    ) : (
      <Failure error={error} />
    );
  const { draft, user, ...inForce } = value;
  return (
    <div className="stack result">
      <Stale error={error} answeredAtMs={answeredAtMs} />
      {user === null ? null : <User user={user} />}
      <Summary inForce={inForce} draft={draft} />
      {draft !== null && "problems" in draft ? <Problems problems={draft.problems} /> : null}
      <Outcomes request={request} user={user} inForce={inForce} draft={draft} />
    </div>
  );
}

interface BothProps {
  readonly inForce: Outcome;
  readonly draft: Draft | null;
}

/** The user of the connection. */
const User = ({ user: { sub, claims, redacted } }: { readonly user: TriedUser }): ReactNode => (
  <div className="panel">
    <p>
      The user of the connection: <strong>{sub ?? "without sub"}</strong>
    </p>
    {redacted ? (
      <p className="notice">
        Claims and the values of conditions are <span className="badge">redacted</span>: for them, a token
        needs the role documents.
      </p>
    ) : claims === null ? (
      <p className="hint">The client is anonymous.</p>
    ) : (
      <pre>{JSON.stringify(claims, null, 2)}</pre>
    )}
  </div>
);

function Summary({ inForce, draft }: BothProps): ReactNode {
  const live = <span className="badge good">live</span>;
  if (draft === null || "problems" in draft)
    return (
      <p role="status">
        {live} The request is <strong>{inForce.outcome}</strong> under the rules in force.
      </p>
    );
  const difference = differenceText(compareDocuments(inForce.documents, draft.documents));
  return (
    <p role="status">
      {live} Under the rules in force the request is <strong>{inForce.outcome}</strong>, under the draft{" "}
      <strong>{draft.outcome}</strong>.{" "}
      {inForce.documents === null && draft.documents === null ? null : difference === null ? (
        "Both show the same documents, as far as they are listed."
      ) : (
        <>
          The draft shows <strong>{difference}</strong>.
        </>
      )}
    </p>
  );
}

const Problems = ({ problems }: Extract<Draft, { readonly problems: unknown }>): ReactNode => (
  <div className="failure" role="alert">
    <p>The draft has mistakes, so that nothing can be compared. Rules shows them in their lines.</p>
    <ul className="parts">
      {problems.slice(0, 5).map(({ line, column, message }) => (
        <li key={`${line}:${column}:${message}`}>
          line {line}: {message}
        </li>
      ))}
    </ul>
  </div>
);

interface OutcomesProps extends LiveResultProps, BothProps {
  readonly user: TriedUser | null;
}

function Outcomes({ request, user, inForce, draft }: OutcomesProps): ReactNode {
  const compared = draft === null || "problems" in draft ? null : draft;
  return (
    <>
      <div className={compared === null ? "outcomes" : "outcomes two"}>
        <OutcomeColumn {...{ request, user }} title="Rules in force" outcome={inForce} other={compared} />
        {compared === null ? null : (
          <OutcomeColumn {...{ request, user }} title="Draft" outcome={compared} other={inForce} />
        )}
      </div>
      <DocumentsTable inForce={inForce} draft={compared} />
    </>
  );
}
