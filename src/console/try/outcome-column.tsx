import type { ReactNode } from "react";
import type { SentTo } from "../../admin/api/endpoints.ts";
import { Facts } from "../ui/facts.tsx";
import type { Outcome, TriedUser } from "./compare.ts";
import { Decision } from "./decision.tsx";
import { SaveTest } from "./save-test.tsx";

interface OutcomeColumnProps {
  readonly title: string;
  readonly request: SentTo<"tryAs">;
  readonly outcome: Outcome;
  /** The user of a connection; `null` if the request has the claims. */
  readonly user: TriedUser | null;
  /** The outcome beside it; `null` for none. */
  readonly other: Outcome | null;
}

/** The outcome under one set of rules. Whatever differs from the other one is marked. */
export function OutcomeColumn({ title, request, outcome, user, other }: OutcomeColumnProps): ReactNode {
  const isAllowed = outcome.outcome === "allowed";
  return (
    <section className="panel stack" aria-label={title}>
      <div>
        <h2>
          {title} <span className={isAllowed ? "badge good" : "badge bad"}>{outcome.outcome}</span>{" "}
          <Differs isTrue={other !== null && other.outcome !== outcome.outcome} />
        </h2>
        {outcome.reason === null ? null : <p>{outcome.reason}</p>}
        {outcome.note === null ? null : <p className="notice warn">{outcome.note}</p>}
      </div>
      <Rules rules={outcome.rules} />
      {outcome.query === null ? null : <Query query={outcome.query} other={other?.query ?? null} />}
      {outcome.document === null ? null : (
        <Decision
          document={outcome.document}
          request={request}
          isDifferent={other?.document != null && other.document.visible !== outcome.document.visible}
        />
      )}
      <SaveTest request={request} outcome={outcome} user={user} />
    </section>
  );
}

const Differs = ({ isTrue }: { readonly isTrue: boolean }): ReactNode =>
  isTrue ? <span className="badge accent">differs</span> : null;

const Rules = ({ rules }: Pick<Outcome, "rules">): ReactNode =>
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

interface QueryProps {
  readonly query: NonNullable<Outcome["query"]>;
  readonly other: Outcome["query"];
}

function Query({ query, other }: QueryProps): ReactNode {
  const isOther = (of: (query: QueryProps["query"]) => unknown) => other !== null && of(other) !== of(query);
  const shownFields = (of: QueryProps["query"]) => of.aggregate ?? of.fields ?? "all";
  return (
    <>
      <Facts
        rows={[
          [
            "Rule",
            <span key="rule">
              {query.rule} <Differs isTrue={isOther(({ rule }) => rule)} />
            </span>,
          ],
          ["Collection", query.namespace],
          ["Snapshot", query.snapshotAllowed ? "allowed" : "not allowed"],
        ]}
      />
      <div>
        <h3>
          Effective filter <Differs isTrue={isOther(({ filter }) => filter)} />
        </h3>
        <pre>{query.filter}</pre>
      </div>
      <div>
        <h3>
          {query.aggregate === null ? "Visible fields" : "Groups"} <Differs isTrue={isOther(shownFields)} />
        </h3>
        <pre>{shownFields(query)}</pre>
      </div>
    </>
  );
}
