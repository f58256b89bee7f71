import { isListed } from "../origins.ts";
import type { RequestHead, ResponseHead } from "./request-head.ts";

/**
 * [8, Origin] Whether a request may connect: one with an origin only if it is listed (see `isListed`), one without
 * always.
 */
export function isOriginAllowed(origin: string | undefined, allowed: readonly string[]): boolean {
  return origin === undefined || isListed(origin, allowed);
}

/** Headers that scripts may send in addition to those of every form. `*` would not include `Authorization`. */
const ALLOWED_HEADERS = "Authorization, Cache-Control, Content-Type, Last-Event-ID";
/**
 * How long a browser may cache the answer to a preflight, in seconds. Edits of `server.origins` need a restart anyway.
 */
const MAX_AGE_S = 600;

/**
 * Lets pages of the allowed origins read the answer (Fetch standard, "CORS protocol"). It never allows credentials,
 * because cookies do not authenticate anyone here.
 * @returns `false` for a page that may not. No header reveals anything to it.
 */
export function allowOrigin(
  request: RequestHead,
  response: ResponseHead,
  allowed: readonly string[],
): boolean {
  const { origin } = request.headers;
  const isForAll = allowed.includes("*");
  if (!isForAll) response.setHeader("Vary", "Origin");
  if (!isOriginAllowed(origin, allowed)) return false;
  if (origin === undefined) return true;
  response.setHeader("Access-Control-Allow-Origin", isForAll ? "*" : origin);
  response.setHeader("Access-Control-Expose-Headers", "Retry-After");
  return true;
}

/** Whether a browser asks in advance whether it may send the real request. */
export function isPreflight({ method, headers }: RequestHead): boolean {
  return method === "OPTIONS" && headers["access-control-request-method"] !== undefined;
}

/**
 * Answers a preflight.
 * @param method The method that the path accepts.
 * @param headers Those that scripts may send.
 */
export function answerPreflight(response: ResponseHead, method: string, headers = ALLOWED_HEADERS): void {
  response.writeHead(204, {
    "Access-Control-Allow-Methods": method,
    "Access-Control-Allow-Headers": headers,
    "Access-Control-Max-Age": MAX_AGE_S,
  });
  response.end();
}
