/** Rule sets in the database: the sets, and edits that put a new one in force. */
import { z } from "zod";
import { limit } from "./audit-endpoint.ts";
import type { EndpointSpec } from "./endpoint.ts";
import { diff, live, problem } from "./plan-endpoint.ts";
import { outcome } from "./rules-endpoints.ts";

const number = z.coerce.number().int().min(1).describe("The number of a rule set.");

const summary = {
  number: z.int(),
  author: z.string(),
  message: z.string(),
  at: z.iso.datetime(),
  parent: z.int().describe("The set that was in force when this one was made; 0 for the first."),
  testResult: z
    .strictObject({ tests: z.int(), failed: z.int() })
    .nullable()
    .describe("Its tests, as they ran when it was saved; null if it has none."),
};
const set = z.strictObject(summary);

/** `GET /rules/history`: the sets. */
export const RULE_HISTORY = {
  method: "GET",
  path: "/rules/history",
  role: "view",
  summary: "The rule set in force and the sets before it, latest first. Empty if no set was ever in force.",
  request: z.strictObject({
    limit,
    before: number.optional().describe("Only sets before this one: the next of the page before."),
  }),
  answer: z.strictObject({
    sets: z.array(set),
    next: z.int().nullable().describe("For `before` of the next page; null if this is the last one."),
  }),
} as const satisfies EndpointSpec;

/** `GET /rules/sets/{number}`: one set. */
export const RULE_SET = {
  method: "GET",
  path: "/rules/sets/{number}",
  role: "view",
  summary: "One rule set with its text.",
  request: z.strictObject({ number }),
  answer: z.strictObject({
    ...summary,
    text: z.string().describe("YAML with the section collections, and the comments of its author."),
    tests: z.string().describe("Its tests, in YAML; empty if there are none."),
    plan: z
      .unknown()
      .describe("The effect that was computed when it was saved; null if it was too large to keep."),
  }),
} as const satisfies EndpointSpec;

/** `GET /rules/sets/{number}/diff`: how another set differs from it. */
export const RULE_SET_DIFF = {
  method: "GET",
  path: "/rules/sets/{number}/diff",
  role: "view",
  summary: "How another rule set differs from this one.",
  request: z.strictObject({
    number,
    to: number.optional().describe("The other set. Default: the set in force."),
  }),
  answer: z.strictObject({
    from: z.int(),
    to: z.int(),
    diff,
    isSameTests: z.boolean().describe("Whether both have the same tests."),
  }),
} as const satisfies EndpointSpec;

/** `GET /rules/nodes`: what each node has in force. */
export const RULE_NODES = {
  method: "GET",
  path: "/rules/nodes",
  role: "view",
  summary: "The rule set that each running node has in force, as the nodes acknowledge it.",
  request: z.strictObject({}),
  answer: z.strictObject({
    from: z.enum(["file", "database"]),
    inForce: z.int().describe("The set in force in the database; 0 if there is none."),
    nodes: z
      .array(
        z.strictObject({
          node: z.string(),
          version: z.string(),
          generation: z.int().describe("The set in force on the node."),
          at: z.iso.datetime().describe("When the node acknowledged this set, by the clock of MongoDB."),
          behind: z
            .strictObject({ set: z.int(), problem: z.string() })
            .nullable()
            .describe("The set that the node cannot apply, and why."),
        }),
      )
      .describe("Nodes that read their rules from the database and have reported within the last 15 s."),
  }),
} as const satisfies EndpointSpec;

const effect = z.strictObject({
  unchanged: z.int(),
  gains: z.int(),
  loses: z.int(),
  changes: z.int(),
  refused: z.int().describe("Requests that the rules in force allow and the draft does not."),
  allowed: z.int().describe("Requests that the draft allows and the rules in force do not."),
  unknown: z.int().describe("The draft reads a claim that was not recorded."),
});

const replay = z
  .strictObject({
    requests: z.int(),
    effects: effect,
    samples: z
      .array(
        z.strictObject({
          effect: z.string(),
          request: z.record(z.string(), z.unknown()),
          claims: z.record(z.string(), z.unknown()).nullable(),
        }),
      )
      .describe("Affected requests, at most 20 for each effect."),
  })
  .describe("The effect on recorded requests, whose users may be offline.");

/** `POST /rules/replay`: recorded requests under a draft. */
export const REPLAY = {
  method: "POST",
  path: "/rules/replay",
  role: "edit",
  summary:
    "Replay recorded requests (rules.record) over a draft of the rules. Nothing takes effect, and no document is read.",
  body: "text",
  request: z.string().describe("A text with the section collections, such as a configuration."),
  answer: z.union([
    z.strictObject({ replay: replay.nullable().describe("Null if no request is recorded.") }),
    z.strictObject({ problems: z.array(problem) }).describe("The draft has mistakes (status 422)."),
  ]),
  otherStatuses: { 422: "The draft has mistakes." },
} as const satisfies EndpointSpec;

const edit = {
  parent: z
    .int()
    .min(0)
    .describe("The set from which the edit starts; 0: there is none. It has to be the set in force."),
  dryRun: z.boolean().default(false).describe("Only checks, tests and computes the effect."),
};
const message = z.string().trim().min(1).max(1_000).describe("The reason, for the history.");

const edited = z.union([
  z.strictObject({
    applied: z
      .int()
      .nullable()
      .describe("The number of the new set in force; null for a dry run, or if there was nothing to apply."),
    isSame: z.boolean().describe("The set in force has the same rules and tests, so nothing is applied."),
    generation: z.int().describe("Of the rules on this node, which the draft was compared with."),
    tests: z.int().describe("Tests that passed."),
    diff,
    live,
    replay: replay.nullable().describe("Null if no request is recorded."),
  }),
  z.strictObject({ problems: z.array(problem) }).describe("The draft has mistakes (status 422)."),
  outcome.describe("Tests of the draft fail (status 422)."),
  z
    .strictObject({
      conflict: z.strictObject({
        text: z.string().describe("For a person: what happened, and the next step."),
        inForce: z.int().describe("The set in force; 0 if there is none."),
        since: z.array(set).describe("The sets that came into force after the parent, at most 20."),
      }),
    })
    .describe("The parent is not the set in force (status 409)."),
  z
    .strictObject({
      unconfirmed: z.strictObject({
        set: z.int().describe("The number of the new set."),
        text: z.string().describe("For a person: what happened, and the next step."),
      }),
    })
    .describe("The set was saved, and may come into force (status 504)."),
]);
const otherStatuses = {
  409: "The parent is not the set in force; or, with an error and a code, the rules are in the file.",
  422: "The draft has mistakes, or its tests fail.",
  504: "Not confirmed in time: the set may be in force, or come into force later. With an error and a code, its number is not known.",
};

/** `POST /rules/apply`: puts a draft in force. */
export const APPLY_RULES = {
  method: "POST",
  path: "/rules/apply",
  role: "edit",
  summary: "Put a draft of the rules in force, on every node at the same commit (rules.from: database).",
  isLarge: true,
  request: z
    .strictObject({
      text: z.string().describe("A text with the section collections. The rest of it is ignored."),
      tests: z
        .string()
        .nullable()
        .default(null)
        .describe("A file of tests; null if the text has tests of its own, or there are none."),
      message: message.optional().describe("The reason, for the history. Only a dry run needs none."),
      ...edit,
    })
    .refine(({ message: reason, dryRun }) => dryRun || reason !== undefined, {
      path: ["message"],
      error: "the reason of the edit is missing",
    }),
  answer: edited,
  otherStatuses,
} as const satisfies EndpointSpec;

/** `POST /rules/revert`: puts the content of an earlier set in force again. */
export const REVERT_RULES = {
  method: "POST",
  path: "/rules/revert",
  role: "edit",
  summary: "Put the content of an earlier rule set in force again, as a new set (rules.from: database).",
  request: z.strictObject({
    number: z.int().min(1).describe("The set whose content is put in force."),
    message: message.optional().describe("Default: Revert to rule set N."),
    ...edit,
  }),
  answer: edited,
  otherStatuses,
} as const satisfies EndpointSpec;
