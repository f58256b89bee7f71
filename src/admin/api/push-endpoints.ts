/** Push registrations of all users. Filters, data and keys of browsers are not shown. */
import { z } from "zod";
import { limit } from "./audit-endpoint.ts";
import type { EndpointSpec } from "./endpoint.ts";

const ID_MAX = 64;

const registration = z.strictObject({
  id: z.string(),
  sub: z.string(),
  collection: z.string(),
  on: z.array(z.string()).describe("Some of added, changed and removed."),
  pushService: z.string().describe("The host of the endpoint."),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime(),
  suspended: z
    .string()
    .nullable()
    .describe("Why nothing is sent at the moment; null if the registration is active."),
  attempts: z.int().nullable().describe("How often the waiting push has failed; null if none is saved."),
});

/** `GET /pushes`: push registrations. */
export const PUSHES = {
  method: "GET",
  path: "/pushes",
  role: "view",
  summary: "Push registrations that have not expired, in the order of their ids.",
  request: z.strictObject({
    limit,
    after: z
      .string()
      .max(ID_MAX)
      .optional()
      .describe("Only registrations after the one with this id: the next of the page before."),
    sub: z.string().max(1_024).optional().describe("Only registrations of this user."),
  }),
  answer: z.strictObject({
    registrations: z.array(registration),
    next: z.string().nullable().describe("For `after` of the next page; null if this is the last one."),
  }),
} as const satisfies EndpointSpec;

/** `DELETE /pushes/{id}`: removes a push registration. */
export const REMOVE_PUSH = {
  method: "DELETE",
  path: "/pushes/{id}",
  role: "act",
  summary: "Remove a push registration. No push begins after that. The user may register again.",
  request: z.strictObject({ id: z.string().min(1).max(ID_MAX) }),
  answer: z.strictObject({ lasts: z.boolean(), note: z.string() }),
} as const satisfies EndpointSpec;
