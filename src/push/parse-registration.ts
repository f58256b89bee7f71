/**
 * Checks the body of `POST /v1/push`. The endpoint is an address that the service will call, chosen by a client, so its
 * form is checked here and its address again at each request.
 */

import { createHash, createPublicKey } from "node:crypto";
import { z } from "zod";
import { badRequest } from "../gateway/connection/parse-message.ts";
import type { TidewireError } from "../protocol/errors.ts";
import { parseUntrusted } from "../protocol/parse-untrusted.ts";

/** The changes that a registration may ask for. */
export const PUSH_KINDS = ["added", "changed", "removed"] as const;
/** A change that a registration asks for. */
export type PushKind = (typeof PUSH_KINDS)[number];

/** The change with a saved name. */
export const kindOf = (name: string): PushKind => PUSH_KINDS.find((kind) => kind === name) ?? "changed";

/** The request of a client, checked. */
export interface RegistrationRequest {
  readonly collection: string;
  readonly filter: Readonly<Record<string, unknown>>;
  readonly on: readonly PushKind[];
  readonly endpoint: string;
  /** Base64url, as browsers write them. */
  readonly p256dh: string;
  readonly auth: string;
  /** As JSON; `null` if there is none. */
  readonly data: string | null;
  /** When the browser's subscription ends, in epoch milliseconds; `null` if never. */
  readonly endsAtMs: number | null;
}

const ENDPOINT_MAX = 2_048;
const POINT_BYTES = 65;
const AUTH_BYTES = 16;

const keyText = z.string().max(256);
/** A `PushSubscription` as JSON. Browsers may add fields. */
const Subscription = z.object({
  endpoint: z.string().max(ENDPOINT_MAX),
  expirationTime: z.number().nullish(),
  keys: z.object({ p256dh: keyText, auth: keyText }),
});
const Body = z.strictObject({
  collection: z.string().min(1).max(255),
  /** Has a parser of its own, which must see every key. */
  filter: z
    .custom<Record<string, unknown>>(
      (value) => typeof value === "object" && value !== null && !Array.isArray(value),
      { error: "expected an object" },
    )
    .optional(),
  on: z.array(z.enum(PUSH_KINDS)).min(1).max(PUSH_KINDS.length).optional(),
  push: Subscription,
  data: z.unknown().optional(),
});

/** The options that decide which registrations are allowed. */
export interface RegistrationLimits {
  readonly dataBytes: number;
  readonly allowPrivate: boolean;
}

/**
 * Checks a request.
 * @param nowMs In epoch milliseconds.
 * @throws {TidewireError} `bad-request`. No text repeats the endpoint or a key.
 */
export function parseRegistration(
  fields: unknown,
  limits: RegistrationLimits,
  nowMs = Date.now(),
): RegistrationRequest {
  const parsed = parseUntrusted(Body, fields);
  if (!parsed.success) {
    const { issues } = parsed.error;
    throw badRequest(issues.map(({ path, message }) => ({ path: path.join("."), reason: message })));
  }
  const { collection, filter = {}, on = ["added"], push, data } = parsed.data;
  const { p256dh, auth } = push.keys;
  checkEndpoint(push.endpoint, limits.allowPrivate);
  if (!isPoint(p256dh)) throw bad("push.keys.p256dh", "expected a public key of P-256 in base64url");
  if (bytesOf(auth)?.length !== AUTH_BYTES) throw bad("push.keys.auth", "expected 16 bytes in base64url");
  const endsAtMs = push.expirationTime ?? null;
  if (endsAtMs !== null && endsAtMs <= nowMs)
    throw bad("push.expirationTime", "expected a time in the future, in epoch milliseconds, or null");
  const text = data === undefined ? null : JSON.stringify(data);
  if (text !== null && Buffer.byteLength(text) > limits.dataBytes)
    throw bad("data", `expected at most ${limits.dataBytes} bytes as JSON (push.dataBytes)`);
  return {
    collection,
    filter,
    on: PUSH_KINDS.filter((kind) => on.includes(kind)),
    endpoint: push.endpoint,
    p256dh,
    auth,
    data: text,
    endsAtMs,
  };
}

/**
 * The id of a registration, which is also its `Topic`: at most 32 characters of base64url (RFC 8030, 5.4). The same user
 * who asks for the same on the same browser renews it.
 */
export function registrationId(
  user: string,
  {
    collection,
    filter,
    on,
    endpoint,
  }: Pick<RegistrationRequest, "collection" | "filter" | "on" | "endpoint">,
): string {
  const identity = JSON.stringify([user, collection, filter, on, endpoint]);
  return createHash("sha256").update(identity).digest("base64url").slice(0, 32);
}

function checkEndpoint(text: string, allowPrivate: boolean): void {
  const url = URL.canParse(text) ? new URL(text) : null;
  const protocols = allowPrivate ? ["https:", "http:"] : ["https:"];
  if (url === null || !protocols.includes(url.protocol) || url.username !== "" || url.password !== "")
    throw bad("push.endpoint", "expected the https address of a push service");
}

const bad = (path: string, reason: string): TidewireError => badRequest([{ path, reason }]);

/** The bytes of a text in base64url; `null` for any other text. Padding is accepted. */
function bytesOf(text: string): Buffer | null {
  const bare = text.replace(/=+$/, "");
  const bytes = Buffer.from(bare, "base64url");
  return bytes.toString("base64url") === bare ? bytes : null;
}

/** Whether a text is a point on the curve. The key agreement with any other would fail at each push. */
function isPoint(text: string): boolean {
  const bytes = bytesOf(text);
  if (bytes?.length !== POINT_BYTES || bytes[0] !== 4) return false;
  const x = bytes.toString("base64url", 1, 33);
  const y = bytes.toString("base64url", 33);
  try {
    createPublicKey({ format: "jwk", key: { kty: "EC", crv: "P-256", x, y } });
    return true;
  } catch {
    return false; // refused by the caller, who says what is expected
  }
}
