import type { ReactNode } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { Facts } from "../ui/facts.tsx";
import { count } from "../ui/numbers.ts";

type Answer = AnswerOf<"tryAs">;

const jsonOf = (value: unknown): string => JSON.stringify(value, null, 2) ?? "";

/** The decision about a request, and the documents that its user would see. */
export const TryResult = ({ answer }: { readonly answer: Answer }): ReactNode => {
  const isAllowed = answer.outcome === "allowed";
  return (
    <div className="panel stack">
      <div role="status">
        <h2>
          {isAllowed ? "The request is" : "The request is refused with"}{" "}
          <span className={isAllowed ? "badge good" : "badge bad"}>{answer.outcome}</span>
        </h2>
        {answer.reason === null ? null : <p>{answer.reason}</p>}
      </div>
      <Rules rules={answer.rules} />
      {answer.query === null ? null : <Query query={answer.query} />}
      {answer.document === null ? null : <Decision document={answer.document} />}
      {answer.documents === null ? null : <Documents documents={answer.documents} />}
    </div>
  );
};

const Rules = ({ rules }: Pick<Answer, "rules">): ReactNode =>
  rules.length === 0 ? null : (
    <div>
      <h3>Rules, in their order</h3>
      <ul className="parts">
        {rules.map(({ name, applies, because }) => (
          <li key={name}>
            <code>{name}</code>{" "}
            <span className={applies ? "badge good" : "badge"}>{applies ? "applies" : "does not apply"}</span>{" "}
            <span className="hint">{because}</span>
          </li>
        ))}
      </ul>
    </div>
  );

const Query = ({ query }: { readonly query: NonNullable<Answer["query"]> }): ReactNode => (
  <>
    <Facts
      rows={[
        ["Rule", query.rule],
        ["Collection", query.namespace],
        ["Snapshot", query.snapshotAllowed ? "allowed" : "not allowed"],
      ]}
    />
    <div>
      <h3>Effective filter</h3>
      <pre>{query.filter}</pre>
    </div>
    <div>
      <h3>{query.aggregate === null ? "Visible fields" : "Groups"}</h3>
      <pre>{query.aggregate ?? query.fields ?? "all"}</pre>
    </div>
  </>
);

const Decision = ({ document }: { readonly document: NonNullable<Answer["document"]> }): ReactNode => (
  <div>
    <h3>
      This document{" "}
      <span className={document.visible ? "badge good" : "badge bad"}>
        {document.visible ? "is visible" : document.found ? "is not visible" : "does not exist"}
      </span>
    </h3>
    <p>{document.because}</p>
    {document.hiddenFields.length === 0 ? null : (
      <p className="hint">
        Hidden fields: <code>{document.hiddenFields.join(", ")}</code>
      </p>
    )}
    {document.found ? (
      <div className="beside">
        <figure>
          <figcaption>As it is stored</figcaption>
          <pre>{jsonOf(document.stored)}</pre>
        </figure>
        <figure>
          <figcaption>As the user would see it</figcaption>
          <pre>{document.visible ? jsonOf(document.shown) : "nothing"}</pre>
        </figure>
      </div>
    ) : null}
  </div>
);

const Documents = ({ documents }: { readonly documents: NonNullable<Answer["documents"]> }): ReactNode => (
  <div>
    <h3>
      {documents.hasMore ? "The first " : ""}
      {count(documents.shown.length, "document")} that the user would see
    </h3>
    {documents.shown.length === 0 ? (
      <p className="hint">No document matches the effective filter now.</p>
    ) : (
      <pre>{documents.shown.map((shown) => JSON.stringify(shown)).join("\n")}</pre>
    )}
  </div>
);
