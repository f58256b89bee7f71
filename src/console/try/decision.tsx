import type { ReactNode } from "react";
import type { SentTo } from "../../admin/api/endpoints.ts";
import { hrefOf } from "../shell/address.ts";
import { useSession } from "../shell/session.ts";
import type { Fields, Outcome } from "./compare.ts";

interface DecisionProps {
  readonly document: NonNullable<Outcome["document"]>;
  readonly request: SentTo<"tryAs">;
  /** Whether the other set of rules decides otherwise. */
  readonly isDifferent: boolean;
}

/** The decision about one document: the clause, the value in the document, and the fields that are hidden. */
export function Decision({ document, request, isDifferent }: DecisionProps): ReactNode {
  const { found, visible, because, decided, hiddenFields, stored, shown } = document;
  return (
    <div>
      <h3>
        This document{" "}
        <span className={visible ? "badge good" : "badge bad"}>
          {visible ? "is visible" : found ? "is not visible" : "does not exist"}
        </span>{" "}
        {isDifferent ? <span className="badge accent">differs</span> : null}
      </h3>
      <p>{because}</p>
      {decided === null ? null : (
        <p>
          In the document, <code>{decided.path}</code> is <code>{decided.value}</code>.
        </p>
      )}
      {hiddenFields.length === 0 ? null : (
        <p className="hint">
          Hidden fields: <code>{hiddenFields.join(", ")}</code>
        </p>
      )}
      {found ? <StoredDocument stored={stored} shown={shown} /> : null}
      <TraceLink request={request} />
    </div>
  );
}

interface StoredDocumentProps {
  readonly stored: unknown;
  readonly shown: unknown;
}

/** The stored document, in which the fields that the user would not see are struck. */
function StoredDocument({ stored, shown }: StoredDocumentProps): ReactNode {
  const visible = fieldsOf(shown);
  return (
    <figure className="stored">
      <figcaption>The stored document; the user would not see what is struck</figcaption>
      <ul>
        {Object.entries(fieldsOf(stored)).map(([name, value]) => (
          <li key={name}>
            <StoredField
              name={name}
              value={value}
              shown={Object.hasOwn(visible, name) ? visible[name] : undefined}
            />
          </li>
        ))}
      </ul>
    </figure>
  );
}

const fieldsOf = (document: unknown): Fields =>
  typeof document === "object" && document !== null ? (document as Fields) : {}; // the node answers with objects

interface StoredFieldProps {
  readonly name: string;
  readonly value: unknown;
  /** `undefined`: hidden. */
  readonly shown: unknown;
}

function StoredField({ name, value, shown }: StoredFieldProps): ReactNode {
  const text = JSON.stringify(value);
  const isWhole = JSON.stringify(shown) === text;
  return (
    <code>
      {shown === undefined ? (
        <del>
          <b>{name}</b>: {text}
        </del>
      ) : (
        <>
          <b>{name}</b>: {isWhole ? text : <del>{text}</del>} {isWhole ? null : JSON.stringify(shown)}
        </>
      )}
    </code>
  );
}

function TraceLink({ request: { collection, documentId } }: Pick<DecisionProps, "request">): ReactNode {
  const { roles } = useSession();
  if (!roles.has("act")) return null;
  return (
    <a href={hrefOf("trace", { collection, documentId: JSON.stringify(documentId) })}>Trace this document</a>
  );
}
