import type { ReactNode } from "react";
import { bytes, lag } from "../ui/numbers.ts";
import { BADGES, type ChangeEntry } from "./entries.ts";

type Decision = ChangeEntry["decisions"][number];
type Send = Decision["sends"][number];

const EFFECTS = {
  added: "enters the result",
  changed: "changes in the result",
  removed: "leaves the result",
  none: "no effect",
  unknown: "unknown",
} as const;

/** The decision of one live query about an event: the clause that decides, the match, and the deliveries. */
export const DecisionCard = ({ decision }: { readonly decision: Decision }): ReactNode => {
  const { liveQuery, rules, effect, because, matchedAfterMs, sends, otherSends } = decision;
  return (
    <li className="decision">
      <p>
        <strong>{matchedAfterMs === null ? "Judged" : "Matched"}</strong>{" "}
        <span className={`badge ${BADGES[effect]}`}>{EFFECTS[effect]}</span>{" "}
        {matchedAfterMs === null ? null : <span className="lag">after {lag(matchedAfterMs)}</span>}
      </p>
      <p className="hint">
        {rules.length === 0 ? "no followed subscriber" : `rule ${rules.join(", ")}`}, live query{" "}
        <code>{liveQuery}</code>
      </p>
      <pre>{because}</pre>
      {sends.length === 0 ? null : (
        <ul className="sends">
          {sends.map((send) => (
            <SendRow key={`${send.connection} ${send.subscriptions.join(" ")}`} send={send} />
          ))}
        </ul>
      )}
      {otherSends === 0 ? null : (
        <p className="hint">{otherSends.toLocaleString("en")} further subscribers are not listed.</p>
      )}
    </li>
  );
};

const SendRow = ({ send }: { readonly send: Send }): ReactNode => {
  const { sub, subscriptions, state, messages, bytes: size, afterMs } = send;
  return (
    <li>
      <strong>{state === "sent" ? "Sent" : "Waits"}</strong> {state === "sent" ? messages.join(", ") : state}{" "}
      <span className="hint">
        to {sub ?? "anonymous"}, subscription {subscriptions.join(", ")}
        {state === "sent" ? `, ${bytes(size)}` : ""}
      </span>{" "}
      {afterMs === null ? null : <span className="lag">after {lag(afterMs)}</span>}
    </li>
  );
};
