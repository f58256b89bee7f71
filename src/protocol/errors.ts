/** When the same request may succeed: at once, after a pause, with another token, or not at all. */
export type Retry = "now" | "later" | "token" | "never";

/** Every error code of the protocol (docs/protocol.md, section 5). Never renamed, never reused. */
export const ERROR_CODES = {
  "bad-request": { retry: "never", httpStatus: 400 },
  "bad-filter": { retry: "never", httpStatus: 400 },
  unauthenticated: { retry: "token", httpStatus: 401 },
  forbidden: { retry: "never", httpStatus: 403 },
  "unknown-collection": { retry: "never", httpStatus: 404 },
  "duplicate-id": { retry: "never", httpStatus: 400 },
  "unknown-id": { retry: "never", httpStatus: 400 },
  "too-many-subscriptions": { retry: "later", httpStatus: 429 },
  "too-many-requests": { retry: "later", httpStatus: 429 },
  "snapshot-too-large": { retry: "never", httpStatus: 429 },
  unavailable: { retry: "later", httpStatus: 503 },
  internal: { retry: "later", httpStatus: 500 },
} as const satisfies Record<string, { retry: Retry; httpStatus: number }>;
/** The code of an error, as clients receive it. */
export type ErrorCode = keyof typeof ERROR_CODES;

/**
 * Optional parts of a `TidewireError`. `retryAfterMs` is the shortest pause before the next attempt, in
 * milliseconds.
 */
export interface ErrorExtras {
  /** Overrides the advice of the code, if this case is different. */
  readonly retry?: Retry;
  readonly retryAfterMs?: number;
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
    this.retry = extras.retry ?? ERROR_CODES[code].retry;
    this.retryAfterMs = extras.retryAfterMs;
  }
}
