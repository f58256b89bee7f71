/**
 * Reports problems to developers. The most frequent mistakes (a wrong URL, an origin that is not listed) show as a page
 * without data, so they are reported with the next step. Most pages have no problem, so bundlers put this into a file that
 * only the others fetch.
 */
import { type ErrorCode, TidewireError } from "../protocol/errors.ts";
import type { Warned } from "./warned.ts";

/** The developer's next step, for errors whose own text does not contain it. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  unauthenticated: "Check the option `token` of createClient and the section `auth` of the service.",
  forbidden: "`tidewire explain` says which rule decides.",
};

const NO_WEBSOCKET =
  "this runtime has no WebSocket, so the client uses server-sent events. " +
  "Use Node 22 or newer, or pass the WebSocket of the package `ws` to createClient.";

/**
 * Reports a problem.
 * @param error An error that no observer of a query over the collection has received. If omitted, the runtime has no WebSocket,
 *   so that the client begins with another transport.
 */
export function warn(warned: Warned, error: TidewireError | undefined, collection: string): void {
  if (error === undefined) {
    report(warned, "websocket", NO_WEBSOCKET, new TidewireError("unavailable", NO_WEBSOCKET));
    return;
  }
  // An observer of another query has received it, or it was reported.
  if (warned.heard.has(error)) return;
  warned.heard.add(error);
  const { code, message, details } = error;
  // Errors that end a connection without a message of the service contain its close code.
  if (code === "unavailable" && "code" in details) {
    report(warned, "connect", unreachable(warned.url, error), error);
    return;
  }
  const concernsAll = code === "unauthenticated" || code === "unavailable";
  const subject = concernsAll ? "" : `collection "${collection}": `;
  const advice = ADVICE[code] === undefined ? "" : ` ${ADVICE[code]}`;
  report(warned, code, `${subject}${message} (${code}).${advice}`, error);
}

function unreachable(url: string, { message: reason, cause }: TidewireError): string {
  const failed = `cannot connect to ${url} (${reason}).`;
  // The token provider has failed, or something else in this process, so the url is not the cause.
  if (cause !== undefined) return `${failed} The client tries again.`;
  const { location } = globalThis as { location?: { origin?: string } }; // pages and workers have one
  const origin = location?.origin;
  const check =
    origin === undefined
      ? "Check the url, and that the service runs."
      : `Check that the service runs, and that its option server.origins lists ${origin}.`;
  return `${failed} ${check} The client tries again.`;
}

function report({ logger, kinds }: Warned, kind: string, text: string, error: TidewireError): void {
  if (kinds.has(kind)) return;
  kinds.add(kind);
  // biome-ignore lint/suspicious/noConsole: the console is where a developer looks for a page that shows nothing.
  const warn = logger ? (line: string) => logger.warn(line, error) : (line: string) => console.warn(line);
  // In a microtask, an error of the logger is an uncaught error, and the client continues.
  queueMicrotask(() => warn(`tidewire: ${text}`));
}
