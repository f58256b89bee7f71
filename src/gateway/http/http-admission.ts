import { TidewireError } from "../../protocol/errors.ts";
import type { GatewayContext } from "../context.ts";
import type { Admission } from "./admission.ts";
import { allowOrigin } from "./cors.ts";
import type { RequestHead, ResponseHead } from "./request-head.ts";

/**
 * Lets pages of the allowed origins read the answer.
 * @throws {TidewireError} `forbidden` for any other page.
 */
export function checkOrigin(
  request: RequestHead,
  response: ResponseHead,
  { server, refusals }: GatewayContext,
  address: string,
): void {
  if (allowOrigin(request, response, server.origins)) return;
  refusals.note("origin", { address, origin: request.headers.origin });
  throw new TidewireError("forbidden", "this page may not connect: server.origins does not list its origin");
}

/**
 * Counts a new connection against the rates.
 * @throws {TidewireError} `too-many-requests`
 */
export function chargeConnect(admission: Admission, address: string, { refusals }: GatewayContext): void {
  const over = admission.overRate(address, Date.now());
  if (over === null) return;
  const { limit, value, waitMs: retryAfterMs } = over;
  refusals.note("connect-rate", { address });
  throw new TidewireError(
    "too-many-requests",
    "too many new connections",
    { limit, value },
    { retryAfterMs },
  );
}
