/** When the same request may succeed: at once, after a pause, with another token, or not at all. */
export type Retry = "now" | "later" | "token" | "never";

/**
 * Every error code of the protocol (docs/protocol.md, section 5), and when the same request may succeed. Never renamed, never
 * reused.
 */
export const ERROR_CODES = {
  "bad-request": "never",
  "bad-filter": "never",
  unauthenticated: "token",
  forbidden: "never",
  "unknown-collection": "never",
  "duplicate-id": "never",
  "unknown-id": "never",
  "too-many-subscriptions": "later",
  "too-many-requests": "later",
  "snapshot-too-large": "never",
  unavailable: "later",
  internal: "later",
} as const satisfies Record<string, Retry>;
/** The code of an error, as clients receive it. */
export type ErrorCode = keyof typeof ERROR_CODES;

/**
 * Optional parts of a `TidewireError`. `retryAfterMs` is the shortest pause before the next attempt, in
 * milliseconds.
 */
export interface ErrorExtras {
  /** Overrides the advice of the code, if this case is different. */
  readonly retry?: Retry;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/** The only error that is sent to a client unchanged; any other is logged and sent as `internal`. */
export class TidewireError extends Error {
  override readonly name = "TidewireError";
  readonly code: ErrorCode;
  /** For machines: which limit, path or reason. Never a token, a document or a rule. */
  readonly details: Readonly<Record<string, unknown>>;
  readonly retry: Retry;
  readonly retryAfterMs: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    details: Readonly<Record<string, unknown>> = {},
    extras: ErrorExtras = {},
  ) {
    super(message, extras.cause === undefined ? undefined : { cause: extras.cause });
    this.code = code;
    this.details = details;
    this.retry = extras.retry ?? ERROR_CODES[code];
    this.retryAfterMs = extras.retryAfterMs;
  }
}
