import type { Logger } from "pino";
import { newReference } from "../metrics/guard.ts";

/** The exit code after an error that escaped: EX_SOFTWARE of sysexits.h. */
export const ESCAPED_ERROR = 70;
/** The time beyond `server.drainTimeout` to stop what is left, in milliseconds. */
const END_WITHIN_MS = 10_000;
/** How many errors are logged. An error that repeats must not fill the log. */
const LOGGED_MAX = 10;

/** The part of a process that the guard uses. */
type GuardedProcess = Pick<NodeJS.Process, "on" | "exit">;

/** The steps of the guard before the process ends. */
export interface ProcessGuardParts {
  readonly log: Logger;
  /** `server.drainTimeout`, in milliseconds. */
  readonly drainTimeoutMs: number;
  /** Hands the clients over, then stops everything. */
  readonly drain: () => Promise<void>;
}

/**
 * The last guard. After an error that escaped all others the state of the process is not known, so it does not go on:
 * it logs the error, hands its clients over in bounded time, and ends with a code that makes its supervisor start it
 * again. Node reports an unhandled rejection by the same event.
 */
export function guardProcess(
  { log, drainTimeoutMs, drain }: ProcessGuardParts,
  process: GuardedProcess = globalThis.process,
): void {
  let escaped = 0;
  const end = () => process.exit(ESCAPED_ERROR);
  process.on("uncaughtException", (error, origin) => {
    escaped++;
    if (escaped <= LOGGED_MAX) {
      const text = "an error escaped: the process hands its clients over and ends; please report it";
      log.fatal({ err: error, ref: newReference(), origin }, text);
    }
    if (escaped > 1) return;
    setTimeout(end, drainTimeoutMs + END_WITHIN_MS);
    drain()
      .catch((failure: unknown) => log.error({ err: failure }, "the node could not stop in good order"))
      .finally(end);
  });
}
