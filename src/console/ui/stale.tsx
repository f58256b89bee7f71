import type { ReactNode } from "react";
import { failureText, isFinal } from "../api/failures.ts";
import { clock } from "./times.ts";

interface StaleProps {
  readonly error: unknown;
  readonly answeredAtMs: number;
}

/** Says that the data are old, because the latest request failed. */
export const Stale = ({ error, answeredAtMs }: StaleProps): ReactNode =>
  error === null ? null : (
    <p className="notice warn" role="status">
      {failureText(error)} Shown is the state of {clock(answeredAtMs)}.
      {isFinal(error) ? "" : " The page keeps trying."}
    </p>
  );
