import { z } from "zod";
import type { EndpointSpec } from "./endpoint.ts";

/** The largest page of every list. */
export const PAGE_MAX = 200;

/** The number of entries of a page. */
export const limit = z.coerce.number().int().min(1).max(PAGE_MAX).default(50).describe("Entries of a page.");

const entry = z.strictObject({
  id: z.string(),
  at: z.iso.datetime(),
  admin: z.string(),
  act: z.string(),
  target: z.record(z.string(), z.union([z.string(), z.number(), z.null()])),
  from: z.string().describe("The address from which the admin asked."),
  node: z.string().describe("The node on which the admin asked."),
});

/** `GET /audit`: the acts of admins. */
export const AUDIT = {
  method: "GET",
  path: "/audit",
  role: "view",
  summary: "The acts of admins, the latest first.",
  request: z.strictObject({
    limit,
    before: z
      .string()
      .regex(/^[0-9a-f]{24}$/, { error: "the id of an entry" })
      .optional()
      .describe("Only entries before this one: the next of the page before."),
    admin: z.string().max(200).optional().describe("Only acts of this admin."),
    act: z.string().max(64).optional().describe("Only acts of this kind."),
  }),
  answer: z.strictObject({
    entries: z.array(entry),
    next: z.string().nullable().describe("For `before` of the next page; null if this is the last one."),
  }),
} as const satisfies EndpointSpec;
