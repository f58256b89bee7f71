/**
 * Reports problems to developers. The most frequent mistakes (a wrong URL, an origin that is not listed) show as a page
 * without data, so they are reported with the next step.
 */
import { type ErrorCode, TidewireError } from "../protocol/errors.ts";

/** Receives the problems that no `error` observer receives. `console` has this form. */
export interface Logger {
  warn(text: string, error: TidewireError): void;
}

/** The developer's next step, for errors whose own text does not contain it. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  unauthenticated: "Check the option `token` of createClient and the section `auth` of the service.",
  forbidden: "`tidewire explain` says which rule decides.",
};

/**
 * Reports problems that the application would not notice otherwise. Each kind is reported once, so that a client that
 * retries does not fill the console.
 */
export class Warnings {
  readonly #logger: Logger | undefined;
  readonly #url: string;
  readonly #reported = new Set<string>();
  /** Errors that need no report: an observer has received them, or the client recovers by itself. */
  readonly #heard = new WeakSet<TidewireError>();

  constructor(logger: Logger | false | undefined, url: string) {
    // biome-ignore lint/suspicious/noConsole: the console is where a developer looks for a page that shows nothing.
    this.#logger = logger === false ? undefined : (logger ?? { warn: (text) => console.warn(text) });
    this.#url = url;
  }

  /** Marks an error that needs no report. */
  heard(error: TidewireError): void {
    this.#heard.add(error);
  }

  /**
   * No observer of this query receives the error. An observer of another query may still receive it in the same turn.
   */
  unheard(error: TidewireError, collection: string): void {
    queueMicrotask(() => {
      if (this.#heard.has(error)) return;
      this.heard(error);
      const { code, message } = error;
      // Errors that end a connection without a message of the service contain its close code.
      if (code === "unavailable" && "code" in error.details)
        this.#report("connect", this.#unreachable(error), error);
      else {
        const subject =
          code === "unauthenticated" || code === "unavailable" ? "" : `collection "${collection}": `;
        const advice = ADVICE[code] === undefined ? "" : ` ${ADVICE[code]}`;
        this.#report(code, `${subject}${message} (${code}).${advice}`, error);
      }
    });
  }

  /** The runtime has no WebSocket, so the client begins with another transport. */
  noWebSocket(): void {
    const text =
      "this runtime has no WebSocket, so the client uses server-sent events. " +
      "Use Node 22 or newer, or pass the WebSocket of the package `ws` to createClient.";
    this.#report("websocket", text, new TidewireError("unavailable", text));
  }

  #unreachable({ message: reason, cause }: TidewireError): string {
    const failed = `cannot connect to ${this.#url} (${reason}).`;
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

  #report(kind: string, text: string, error: TidewireError): void {
    if (this.#reported.has(kind)) return;
    this.#reported.add(kind);
    // In a microtask, an error of the logger is an uncaught error, and the client continues.
    queueMicrotask(() => this.#logger?.warn(`tidewire: ${text}`, error));
  }
}
