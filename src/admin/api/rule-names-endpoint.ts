/** The names that an editor of rules offers. */
import { z } from "zod";
import type { EndpointSpec } from "./endpoint.ts";

/** `GET /rules/names`: names of collections, fields and claims. */
export const RULE_NAMES = {
  method: "GET",
  path: "/rules/names",
  role: "edit",
  summary:
    "Names that an editor of rules offers: collections, fields of one collection, and claims. No value is in the answer.",
  request: z.strictObject({
    collection: z
      .string()
      .min(1)
      .max(255)
      .optional()
      .describe("A collection of the rules in force, by the name that clients use, whose fields are wanted."),
  }),
  answer: z.strictObject({
    collections: z.array(z.string()).describe("The collections of the rules in force, at most 1,000."),
    stored: z
      .array(z.string())
      .describe(
        "The collections of mongodb.database that the service's user may use, at most 1,000. Kept for a minute. Empty if MongoDB does not list them.",
      ),
    fields: z
      .array(z.strictObject({ path: z.string(), types: z.array(z.string()) }))
      .nullable()
      .describe(
        "The paths in at most server.admin.nameDocuments (100) documents at random, without indexes of arrays, with the BSON types there. At most 500, of at most 5 segments and 200 characters. A path that ends with * replaces more than 50 keys of one object, which are data. Kept for a minute. Null without collection.",
      ),
    claims: z
      .array(z.string())
      .describe(
        "Claims in the tokens of at most 5,000 connections of each process of this node, as rules write them. At most 200, with * as for fields. Kept for a minute.",
      ),
  }),
} as const satisfies EndpointSpec;
