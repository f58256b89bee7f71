/** The effect of an edit of the rules, on the subscriptions of this moment. */
import { z } from "zod";
import type { EndpointSpec } from "./endpoint.ts";

const part = z.strictObject({
  part: z.string(),
  effect: z.string(),
  from: z.string().nullable().describe("Null: the reader of a plan is not always the author of the rules."),
  to: z.string().nullable(),
});

const rule = z.strictObject({
  rule: z.string(),
  change: z.enum(["added", "removed", "changed", "renamed"]),
  note: z.string().nullable(),
  parts: z.array(part),
});

/** How two rule sets differ. */
export const diff = z.strictObject({
  limits: z.array(part),
  collections: z.array(
    z.strictObject({
      collection: z.string(),
      change: z.enum(["added", "removed", "changed"]),
      parts: z.array(part),
      rules: z.array(rule),
    }),
  ),
});

const count = z.int().min(0);
const effects = z.strictObject({
  unchanged: count,
  gains: count,
  loses: count,
  changes: count,
  ends: count,
  unknown: count,
});

/** The effect on subscriptions. */
export const live = z.strictObject({
  connections: count,
  subscriptions: count,
  newLiveQueries: count.describe("Live queries that nobody follows now."),
  collections: z.array(
    z.strictObject({
      collection: z.string(),
      effects,
      rules: z.array(z.strictObject({ from: z.string().nullable(), to: z.string().nullable(), effects })),
    }),
  ),
  affected: z
    .array(
      z.strictObject({
        sub: z
          .string()
          .nullable()
          .describe(
            "At most 200 characters; a longer one ends with …. Null for an anonymous user, and for a token without sub.",
          ),
        isAnonymous: z.boolean().describe("Whether the user has no token."),
        collection: z.string(),
        effect: z.enum(["ends", "loses", "changes", "gains", "unknown"]),
        from: z.string().nullable().describe("The rule that applies now; null if none does."),
        to: z.string().nullable().describe("The rule that would apply; null if none would."),
      }),
    )
    .describe(
      "A sample of the affected users: at most 20 entries, the most serious effects first, with every effect, collection " +
        "and pair of rules before a second user of one.",
    ),
});

/** A mistake in a text. */
export const problem = z.strictObject({
  line: z.int(),
  column: z.int(),
  path: z.string(),
  message: z.string(),
});

/** `POST /plan`: a configuration as text, and the effect that its rules would have. */
export const PLAN = {
  method: "POST",
  path: "/plan",
  // Conditions of a draft, with the users whom it affects, could find out any claim.
  role: "edit",
  summary:
    "Compute the effect of an edit of the rules, given as the text of a configuration. Nothing takes effect.",
  body: "text",
  request: z.string().describe("A configuration, as it is in a file: YAML or JSON."),
  answer: z.union([
    z.strictObject({ generation: z.int(), diff, live }).describe("The edit could take effect."),
    z.strictObject({ problems: z.array(problem) }).describe("The edit has mistakes (status 422)."),
  ]),
  otherStatuses: { 422: "The edit has mistakes." },
} as const satisfies EndpointSpec;
