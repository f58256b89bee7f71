/** Revoked tokens, as `tidewire revoke` writes them. */
import { z } from "zod";
import { limit } from "./audit-endpoint.ts";
import type { EndpointSpec } from "./endpoint.ts";

const sub = z.string().min(1).max(1_024).describe("The user, as in the token's sub.");
const iss = z
  .string()
  .max(2_048)
  .nullable()
  .default(null)
  .describe("Only tokens of this issuer; null: of every one.");
const jti = z
  .string()
  .max(1_024)
  .nullable()
  .default(null)
  .describe("Only the token with this jti; null: all tokens.");

const DAY_MS = 86_400_000;
/** An id contains the texts of a revocation as JSON. The headers of a request have room for no more. */
const AFTER_MAX = 8_192;

const revocation = z.strictObject({
  sub: z.string(),
  iss: z.string().nullable(),
  jti: z.string().nullable(),
  issuedBefore: z.iso
    .datetime()
    .nullable()
    .describe("Tokens issued then or earlier; null if jti names the token."),
  expiresAt: z.iso.datetime(),
});

/** `GET /revocations`: those in force. */
export const REVOCATIONS = {
  method: "GET",
  path: "/revocations",
  role: "view",
  summary: "The revocations in force, by issuer and user.",
  request: z.strictObject({
    limit,
    after: z
      .string()
      .max(AFTER_MAX)
      .optional()
      .describe("Only revocations after this one: the next of the page before."),
    sub: z.string().max(1_024).optional().describe("Only revocations of this user."),
  }),
  answer: z.strictObject({
    revocations: z.array(revocation),
    next: z.string().nullable().describe("For `after` of the next page; null if this is the last one."),
  }),
} as const satisfies EndpointSpec;

/** `POST /revocations`: revokes tokens. */
export const REVOKE = {
  method: "POST",
  path: "/revocations",
  role: "act",
  summary: "Revoke tokens of a user, on every node, at one point of the order of commits.",
  request: z
    .strictObject({
      sub,
      iss,
      jti,
      issuedBefore: z.iso
        .datetime({ offset: true })
        .optional()
        .describe("Revokes the tokens issued then or earlier. Default: now. Not together with jti."),
      forMs: z
        .int()
        .min(1_000)
        .max(3_650 * DAY_MS)
        .default(30 * DAY_MS)
        .describe(
          "How long the revocation is kept, in milliseconds; at least the lifetime of the longest token.",
        ),
    })
    .refine(({ jti, issuedBefore }) => jti === null || issuedBefore === undefined, {
      path: ["issuedBefore"],
      error: "jti names one token, so issuedBefore says nothing: leave one of them out",
    }),
  answer: z.strictObject({ revocation, lasts: z.boolean(), note: z.string() }),
} as const satisfies EndpointSpec;

/** `POST /revocations/undo`: removes a revocation. */
export const UNDO_REVOCATION = {
  method: "POST",
  path: "/revocations/undo",
  role: "act",
  summary: "Remove a revocation. Such tokens are accepted again until they expire.",
  request: z.strictObject({ sub, iss, jti }),
  answer: z.strictObject({ lasts: z.boolean(), note: z.string() }),
} as const satisfies EndpointSpec;
