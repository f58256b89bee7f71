import { type ReactNode, useEffect } from "react";
import { failureText } from "../api/failures.ts";
import { Stale } from "../ui/stale.tsx";
import { useAnswer } from "../ui/use-answer.ts";

/** How often the page looks whether the set has come into force, in milliseconds. */
const REFRESH_MS = 1_000;

interface UnconfirmedProps {
  readonly set: number;
  /** The cause, and the next step. */
  readonly text: string;
  readonly onConfirmed: (set: number) => void;
  readonly onRetry: () => void;
}

/** An edit that may come into force later. The page looks until the set is in force. */
export function Unconfirmed({ set, text, onConfirmed, onRetry }: UnconfirmedProps): ReactNode {
  const { value, error, answeredAtMs } = useAnswer("ruleNodes", {}, REFRESH_MS);
  const inForce = value?.inForce ?? null;
  useEffect(() => {
    if (inForce === set) onConfirmed(set);
  }, [inForce, set, onConfirmed]);
  return (
    <div className="stack">
      <p className="notice warn" role="alert">
        {failureText(new Error(text))}
      </p>
      <p role="status">
        {inForce === null
          ? "Waiting for the node …"
          : `Rule set ${inForce} is in force now. The page looks every second whether set ${set} has replaced it.`}
      </p>
      <Stale error={error} answeredAtMs={answeredAtMs} />
      <div className="actions">
        <button type="button" className="primary" onClick={onRetry}>
          Try again
        </button>
      </div>
    </div>
  );
}
