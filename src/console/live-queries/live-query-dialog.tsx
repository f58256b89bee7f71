import type { ReactNode } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { hrefOf } from "../shell/address.ts";
import { useSession } from "../shell/session.ts";
import { Dialog } from "../ui/dialog.tsx";
import { Facts } from "../ui/facts.tsx";
import { Failure } from "../ui/failure.tsx";
import { bytes, count, duration } from "../ui/numbers.ts";
import { useAnswer } from "../ui/use-answer.ts";

type LiveQuery = AnswerOf<"liveQuery">;

/** Each answer asks MongoDB to explain the query. */
const REFRESH_MS = 10_000;

interface LiveQueryDialogProps {
  /** `null`: closed. */
  readonly id: string | null;
  readonly onClose: () => void;
}

/** One live query, whole. */
export const LiveQueryDialog = ({ id, onClose }: LiveQueryDialogProps): ReactNode => (
  <Dialog title="Live query" isOpen={id !== null} onClose={onClose} isWide>
    {id === null ? null : <Details id={id} />}
  </Dialog>
);

function Details({ id }: { readonly id: string }): ReactNode {
  const { roles } = useSession();
  const { value, error } = useAnswer("liveQuery", { id }, REFRESH_MS);
  if (value === null) return error === null ? <p className="hint">Loading …</p> : <Failure error={error} />;
  const { namespace, node, filter, fields, aggregate, sort, limit } = value;
  const { subscribers, costMs, heldBytes, trackedDocuments, resets, isIndexed } = value;
  return (
    <div className="stack">
      <Facts
        rows={[
          ["Collection", namespace],
          ["Node", node],
          ["Subscribers", count(subscribers, "connection")],
          ["Cost of a commit", duration(costMs)],
          [
            "Memory",
            heldBytes === 0
              ? "none is needed"
              : `${bytes(heldBytes)} for ${count(trackedDocuments, "document")}`,
          ],
          ["Resets", count(resets, "reset")],
          ["Sort", sort ?? "none"],
          ["Limit", limit === null ? "none" : count(limit, "document")],
          ["Id", <code key="id">{value.id}</code>],
        ]}
      />
      <div>
        <h3>Effective filter</h3>
        <pre>{filter}</pre>
      </div>
      <div>
        <h3>{aggregate === null ? "Visible fields" : "Groups"}</h3>
        <pre>{aggregate ?? fields ?? "all"}</pre>
      </div>
      {isIndexed ? null : (
        <p className="notice warn">
          No value of the filter selects it, so that it is matched with every commit of the collection. An
          equality or <code>$in</code> on a field makes it cheap.
        </p>
      )}
      <Snapshot snapshot={value.snapshot} filter={filter} />
      {roles.has("act") ? (
        <div className="actions">
          <a className="button" href={hrefOf("trace", { liveQuery: id })}>
            Trace this live query
          </a>
        </div>
      ) : null}
    </div>
  );
}

function Snapshot({ snapshot, filter }: Pick<LiveQuery, "snapshot" | "filter">): ReactNode {
  if (snapshot === null) return <p className="hint">MongoDB does not say how it would read the documents.</p>;
  if (snapshot.readsEverything)
    return (
      <p className="notice warn">
        Every snapshot reads the whole collection{filter === "{}" ? ", because nothing is filtered" : ""}. For
        a filter, <code>tidewire explain</code> prints the index that is missing.
      </p>
    );
  return (
    <p className="notice">
      Its snapshot uses an index: <code>{snapshot.indexes.join(", ") || "none is needed"}</code>
    </p>
  );
}
