import type { ReactNode } from "react";
import { failureText, NoAnswer } from "../api/failures.ts";

interface FailureProps {
  readonly error: unknown;
  readonly onRetry?: () => void;
}

/** A request that failed, and the next step. */
export const Failure = ({ error, onRetry }: FailureProps): ReactNode => (
  <div className="failure" role="alert">
    <p>{failureText(error)}</p>
    {error instanceof NoAnswer ? <p>It may be restarting, or a network in between is down.</p> : null}
    {onRetry === undefined ? null : (
      <button type="button" onClick={onRetry}>
        Try again
      </button>
    )}
  </div>
);
