import type { TidewireError } from "../protocol/errors.ts";

/** Receives the problems that no `error` observer receives. `console` has this form. */
export interface Logger {
  warn(text: string, error: TidewireError): void;
}

/** The reports of a client to the developer. */
export interface Warned {
  /** Default: the console. `false`: nothing is reported. */
  readonly logger: Logger | false | undefined;
  readonly url: string;
  /** Each kind is reported once, so that a client that retries does not fill the console. */
  readonly kinds: Set<string>;
  /** Errors that need no report: an observer has received them, or the client recovers by itself. */
  readonly heard: WeakSet<TidewireError>;
}
