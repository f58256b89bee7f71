/** One request to a push service (RFC 8030), and the meaning of its answer. */
import type { SafeAnswer, SafeRequest } from "../outbound/safe-request.ts";
import type { PushOptions } from "./options.ts";
import type { Vapid } from "./vapid.ts";

/** Sends a request to an address that a client has chosen. */
export type SendRequest = (request: SafeRequest) => Promise<SafeAnswer>;

/** The parts that every request needs. */
export interface PushRequestParts {
  readonly options: Pick<PushOptions, "ttlMs" | "urgency" | "timeoutMs" | "allowPrivate">;
  readonly vapid: Vapid;
  readonly send: SendRequest;
}

/** The answer of a push service. `retry` may also mean that there was none. */
export type PushAnswer =
  | { readonly outcome: "accepted" | "gone" }
  | { readonly outcome: "refused"; readonly status: number }
  | { readonly outcome: "retry"; readonly afterMs: number; readonly cause: string };

const SECOND_MS = 1_000;

/**
 * Hands an encrypted payload to a push service.
 * @param topic A later push with the same topic replaces an earlier one that the device has not received.
 */
export async function sendPush(
  { options, vapid, send }: PushRequestParts,
  endpoint: string,
  topic: string,
  body: Uint8Array,
  signal: AbortSignal,
): Promise<PushAnswer> {
  const url = new URL(endpoint);
  const { ttlMs, urgency, timeoutMs, allowPrivate } = options;
  const headers = {
    authorization: vapid.headerFor(url, Date.now()),
    "content-type": "application/octet-stream",
    "content-encoding": "aes128gcm",
    ttl: String(Math.floor(ttlMs / SECOND_MS)),
    urgency,
    topic,
  };
  let answer: SafeAnswer;
  try {
    answer = await send({ url, method: "POST", headers, body, timeoutMs, allowPrivate, signal });
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    // The address of this endpoint is one that the service must not call, now or later.
    if (error.name === "PrivateAddressError") return { outcome: "refused", status: 0 };
    if (error.name !== "RequestFailedError") throw error;
    return { outcome: "retry", afterMs: 0, cause: error.message };
  }
  return answerOf(answer, Date.now());
}

/** The meaning of an answer. */
export function answerOf({ status, headers }: SafeAnswer, nowMs: number): PushAnswer {
  if (status >= 200 && status < 300) return { outcome: "accepted" };
  if (status === 404 || status === 410) return { outcome: "gone" };
  if (status === 429 || status >= 500 || status === 408)
    return {
      outcome: "retry",
      afterMs: retryAfterMs(headers["retry-after"], nowMs),
      cause: `status ${status}`,
    };
  return { outcome: "refused", status };
}

/** The header in milliseconds (RFC 9110, 10.2.3); 0 if there is none that can be read. */
function retryAfterMs(text: string | undefined, nowMs: number): number {
  if (text === undefined) return 0;
  if (/^\d{1,9}$/.test(text)) return Number(text) * SECOND_MS;
  const atMs = Date.parse(text);
  return Number.isNaN(atMs) ? 0 : Math.max(0, atMs - nowMs);
}
