import type { ErrorCode } from "./errors.ts";

/** The HTTP status of each error. It is apart from the codes, because clients, which contain the codes, have no use for it. */
export const HTTP_STATUS: Readonly<Record<ErrorCode, number>> = {
  "bad-request": 400,
  "bad-filter": 400,
  unauthenticated: 401,
  forbidden: 403,
  "unknown-collection": 404,
  "duplicate-id": 400,
  "unknown-id": 400,
  "too-many-subscriptions": 429,
  "too-many-requests": 429,
  "snapshot-too-large": 429,
  unavailable: 503,
  internal: 500,
};
