import type { ReactNode } from "react";
import { Dialog } from "../ui/dialog.tsx";
import { Facts } from "../ui/facts.tsx";
import { lag } from "../ui/numbers.ts";
import { preciseClock } from "../ui/times.ts";
import { DecisionCard } from "./decision-card.tsx";
import {
  type ChangeEntry,
  changedFields,
  documentText,
  type Entry,
  lastLags,
  type RightsEntry,
  totalLag,
} from "./entries.ts";
import { Redacted } from "./trace-table.tsx";

interface EntryDialogProps {
  /** `null`: closed. */
  readonly entry: Entry | null;
  readonly redacted: boolean;
  readonly onClose: () => void;
  /** The keys of the neighbours in the list; `null` at its ends. */
  readonly later: string | null;
  readonly earlier: string | null;
  readonly onOpen: (key: string) => void;
}

/** One entry with its steps. */
export const EntryDialog = ({ entry, redacted, onClose, ...neighbours }: EntryDialogProps): ReactNode => (
  <Dialog
    title={entry?.kind === "rights" ? "Decision about rights" : "Change event"}
    isOpen={entry !== null}
    onClose={onClose}
    isWide
  >
    {entry === null ? null : (
      <div className="stack">
        <Neighbours {...neighbours} />
        {entry.kind === "rights" ? <Rights entry={entry} /> : <Change entry={entry} redacted={redacted} />}
      </div>
    )}
  </Dialog>
);

const Neighbours = ({ later, earlier, onOpen }: Pick<EntryDialogProps, "later" | "earlier" | "onOpen">) => (
  <div className="actions">
    <button type="button" disabled={earlier === null} onClick={() => onOpen(earlier ?? "")}>
      Earlier
    </button>
    <button type="button" disabled={later === null} onClick={() => onOpen(later ?? "")}>
      Later
    </button>
  </div>
);

function Change({ entry, redacted }: { readonly entry: ChangeEntry; readonly redacted: boolean }): ReactNode {
  const total = totalLag(entry);
  return (
    <>
      <Facts
        rows={[
          ["Operation", entry.operation],
          ["Collection", entry.namespace],
          ["Document (_id)", redacted ? <Redacted key="id" /> : (entry.documentId ?? "the whole collection")],
          ["Cluster time", entry.clusterTime],
          ["Node", entry.node],
          ["Write to outbox", total === null ? "nothing was sent" : lag(total)],
        ]}
      />
      <LagBar entry={entry} />
      <ol className="steps">
        <li>
          <strong>Written</strong> <span className="hint">cluster time {entry.clusterTime}</span>
        </li>
        <li>
          <strong>Read</strong> at {preciseClock(entry.at)}{" "}
          {entry.readAfterMs === null ? (
            <span className="hint">the server gives no date of the write</span>
          ) : (
            <span className="lag">after {lag(entry.readAfterMs)}</span>
          )}
        </li>
        {entry.decisions.map((decision) => (
          <DecisionCard key={decision.liveQuery} decision={decision} />
        ))}
      </ol>
      {entry.decisions.length === 0 ? (
        <p className="hint">No live query follows the collection, so that nothing was decided.</p>
      ) : null}
      {entry.otherLiveQueries === 0 ? null : (
        <p className="hint">
          {entry.otherLiveQueries.toLocaleString("en")} further live queries of the collection are not listed.
        </p>
      )}
      <Contents entry={entry} redacted={redacted} />
    </>
  );
}

const STEPS = [
  ["read", "write to read"],
  ["match", "read to match"],
  ["send", "match to outbox"],
] as const;

/** The share of each step in the way to the last outbox. */
function LagBar({ entry }: { readonly entry: ChangeEntry }): ReactNode {
  const lags = lastLags(entry);
  if (lags === null) return null;
  return (
    <div>
      <div className="lag-bar" aria-hidden="true">
        {STEPS.map(([step]) => (
          <span key={step} className={step} style={{ flexGrow: Math.max(0.001, lags[step]) }} />
        ))}
      </div>
      <p className="lag-legend">
        {STEPS.map(([step, title]) => (
          <span key={step}>
            <i className={step} />
            {title}: {lag(lags[step])}
          </span>
        ))}
      </p>
    </div>
  );
}

function Changed({ entry }: { readonly entry: ChangeEntry }): ReactNode {
  const fields = changedFields(entry);
  if (fields === null) return null;
  return (
    <p>
      Changed fields:{" "}
      {fields.length === 0
        ? "none"
        : fields.map((name) => (
            <span key={name}>
              <code className="badge accent">{name}</code>{" "}
            </span>
          ))}
    </p>
  );
}

const Contents = ({ entry, redacted }: { readonly entry: ChangeEntry; readonly redacted: boolean }) =>
  redacted ? (
    <p className="notice">
      The document is <Redacted />: it needs the role documents, when the trace begins and when it is read.
    </p>
  ) : (
    <div>
      <Changed entry={entry} />
      <div className="beside">
        <figure>
          <figcaption>Before</figcaption>
          <pre>{documentText(entry.before)}</pre>
        </figure>
        <figure>
          <figcaption>After</figcaption>
          <pre>{documentText(entry.after)}</pre>
        </figure>
      </div>
    </div>
  );

const Rights = ({ entry }: { readonly entry: RightsEntry }): ReactNode => (
  <>
    <Facts
      rows={[
        ["Outcome", entry.outcome],
        ["Time", preciseClock(entry.at)],
        ["User (sub)", entry.sub ?? "anonymous"],
        ["Collection", entry.collection],
        ["Rule", entry.rule ?? "none"],
        ["Subscription", <code key="id">{entry.subscription}</code>],
        ["Connection", <code key="connection">{entry.connection}</code>],
        ["Live query", entry.liveQuery === null ? "none" : <code key="query">{entry.liveQuery}</code>],
      ]}
    />
    <div>
      <h3>Rules, in their order</h3>
      {entry.rules.length === 0 ? (
        <p className="hint">The rules in force have no such collection, or it has no rule.</p>
      ) : (
        <ul className="parts">
          {entry.rules.map(({ name, applies, because }) => (
            <li key={name}>
              <code>{name}</code>{" "}
              <span className={applies ? "badge good" : "badge"}>
                {applies ? "applies" : "does not apply"}
              </span>{" "}
              <span className="hint">{because}</span>
            </li>
          ))}
        </ul>
      )}
    </div>
  </>
);
