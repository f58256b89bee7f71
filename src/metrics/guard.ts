/**
 * The boundary between libraries, timers and abandoned promises on one side and the service's own code on the other.
 * An exception that leaves a listener, or a rejection that nobody waits for, ends the process and with it every
 * client. Behind the guard it ends only one connection or one task, and leaves a log line with a reference and a count.
 */
import { randomBytes } from "node:crypto";
import type { Logger } from "pino";
import type { Metrics } from "./metrics.ts";

/** The parts that a guard uses. */
export interface GuardParts {
  readonly log: Logger;
  readonly metrics: Pick<Metrics, "unexpectedErrors">;
}

/** An unexpected error that has been logged and counted. */
export interface Fault {
  readonly error: unknown;
  /** The log has the stack trace under this reference. The client may see it. */
  readonly ref: string;
}

const DO_NOTHING = (): void => {};

type OnFault = (fault: Fault) => void;

/** A random reference that appears in the log and in the message to the client, so that an admin finds one by the other. */
export const newReference = (): string => randomBytes(6).toString("hex");

/** Logs and counts an unexpected error. @param where A fixed name; the label of the metric. */
export function noteFault({ log, metrics }: GuardParts, where: string, error: unknown): Fault {
  const ref = newReference();
  metrics.unexpectedErrors.inc({ where });
  log.error({ err: error, ref, where }, "an unexpected error was contained; please report it");
  return { error, ref };
}

/**
 * Wraps a function as a listener that never throws and never rejects.
 * @param onFault Ends the owner of the event, such as one connection.
 */
export function guarded<A extends readonly unknown[]>(
  parts: GuardParts,
  where: string,
  run: (...args: A) => unknown,
  onFault: OnFault = DO_NOTHING,
): (...args: A) => void {
  return (...args) => {
    try {
      const running = run(...args);
      if (running instanceof Promise)
        running.catch((error: unknown) => contain(parts, where, error, onFault));
    } catch (error) {
      contain(parts, where, error, onFault);
    }
  };
}

/**
 * Like `guarded`, as one listener for all emitters of a kind. A listener for each emitter would cost every connection
 * three objects for each event.
 * @param run Takes the emitter, and then the arguments of the event.
 * @param onFault Ends the owner of the emitter.
 */
export function sharedGuarded<E, A extends readonly unknown[]>(
  partsOf: (emitter: E) => GuardParts,
  where: string,
  run: (emitter: E, ...args: A) => unknown,
  onFault: (emitter: E, fault: Fault) => void = DO_NOTHING,
): (this: E, ...args: A) => void {
  return function (this: E, ...args: A): void {
    try {
      const running = run(this, ...args);
      if (running instanceof Promise)
        running.catch((error: unknown) =>
          contain(partsOf(this), where, error, (fault) => onFault(this, fault)),
        );
    } catch (error) {
      contain(partsOf(this), where, error, (fault) => onFault(this, fault));
    }
  };
}

/** Runs one task in the same way, at once. */
export function runGuarded(
  parts: GuardParts,
  where: string,
  run: () => unknown,
  onFault: OnFault = DO_NOTHING,
): void {
  guarded(parts, where, run, onFault)();
}

/** `onFault` may fail for the same reason as the work. */
function contain(parts: GuardParts, where: string, error: unknown, onFault: OnFault): void {
  try {
    onFault(noteFault(parts, where, error));
  } catch (second) {
    noteFault(parts, where, second);
  }
}
