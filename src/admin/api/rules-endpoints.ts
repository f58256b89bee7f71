/** The rules in force, and requests that an admin tries under them. */
import { z } from "zod";
import { connectionId } from "./connection-endpoints.ts";
import type { EndpointSpec } from "./endpoint.ts";

/** `GET /rules`: the rules in force. */
export const RULES = {
  method: "GET",
  path: "/rules",
  role: "view",
  summary: "The rules in force, as a configuration would have them.",
  request: z.strictObject({}),
  answer: z.strictObject({
    generation: z.int(),
    from: z.enum(["file", "database"]).describe("Where the rules of this node come from (rules.from)."),
    text: z
      .string()
      .describe(
        "YAML, with environment variables filled in. With rules.from: database, the set in force with its comments. POST /plan and POST /rules/apply take it, edited.",
      ),
    tests: z.string().describe("The tests of the set in force, in YAML; empty if there are none."),
    parent: z
      .int()
      .nullable()
      .describe("The set in force, for `parent` of POST /rules/apply; null if the rules are in the file."),
  }),
} as const satisfies EndpointSpec;

const at = { line: z.int(), column: z.int(), path: z.string() };

/** The outcome of the tests of a draft. */
export const outcome = z.strictObject({
  tests: z.int(),
  failed: z.int(),
  failures: z
    .array(
      z.strictObject({
        ...at,
        test: z.string(),
        collection: z.string(),
        expected: z.string(),
        found: z.string(),
        because: z.string().nullable(),
      }),
    )
    .describe("At most 100."),
  untested: z
    .array(
      z.strictObject({
        collection: z.string(),
        rule: z.string(),
        part: z.enum(["when", "filter"]).nullable().describe("Null if the rule applies in no test."),
        branch: z
          .string()
          .nullable()
          .describe(
            "A branch of $or that holds for no user to whom the rule applies (when), or in no document of a test that the " +
              "rule shows (filter). At most 400 characters. Null if the rule applies in no test.",
          ),
      }),
    )
    .describe("The parts of the rules that no test reaches, at most 100."),
});

/** `POST /test-rules`: the tests of a draft. */
export const TEST_RULES = {
  method: "POST",
  path: "/test-rules",
  role: "view",
  summary: "Run the tests of a draft of the rules. Nothing takes effect, and no document is read.",
  isLarge: true,
  request: z.strictObject({
    text: z.string().describe("A text with the section collections, such as a configuration."),
    tests: z
      .string()
      .nullable()
      .default(null)
      .describe("A file of tests; null if the text has tests of its own."),
  }),
  answer: z.union([
    outcome,
    z
      .strictObject({ problems: z.array(z.strictObject({ ...at, message: z.string() })) })
      .describe("The texts have mistakes (status 422)."),
  ]),
  otherStatuses: { 422: "The texts have mistakes." },
} as const satisfies EndpointSpec;

const json = z.record(z.string(), z.unknown());

const outcomeUnderRules = {
  outcome: z.string().describe("allowed, or the code of the error that the client receives."),
  reason: z.string().nullable().describe("Why it is refused, in more detail than the client receives."),
  rules: z.array(z.strictObject({ name: z.string(), applies: z.boolean(), because: z.string() })),
  query: z
    .strictObject({
      rule: z.string(),
      namespace: z.string(),
      filter: z
        .string()
        .describe("The effective filter. Without the role documents, lookups are empty sets in it."),
      fields: z.string().nullable(),
      aggregate: z.string().nullable(),
      snapshotAllowed: z.boolean(),
    })
    .nullable()
    .describe("Null if the request is refused."),
  documents: z
    .strictObject({
      shown: z.array(z.unknown()).describe("At most 20, and about 1 MiB, as the user would see them."),
      hasMore: z.boolean(),
    })
    .nullable()
    .describe("Null without the role documents, for a refused request, and for an aggregate."),
  document: z
    .strictObject({
      found: z.boolean(),
      visible: z.boolean(),
      because: z.string().describe("The clause that decides."),
      decided: z
        .strictObject({ path: z.string(), value: z.string() })
        .nullable()
        .describe("The path of that clause and the values there; null if no single condition decides."),
      stored: z.unknown().describe("The document as it is stored."),
      shown: z.unknown().describe("The part that the user would see; null if it is not visible."),
      hiddenFields: z.array(z.string()).describe("Fields that the user would not see, at most 200."),
    })
    .nullable()
    .describe("Null without documentId, and without the role documents."),
  note: z.string().nullable().describe("The part that the answer lacks, and its reason."),
  given: z
    .record(z.string(), z.array(z.unknown()))
    .nullable()
    .describe("Documents from which the lookups would read the same, for the given of a rule test."),
};

/** `POST /try`: a request of a user, tried. */
export const TRY = {
  method: "POST",
  path: "/try",
  role: "view",
  isLarge: true,
  summary:
    "Try a request of a user under the rules in force, and under a draft. Documents, values that lookups read, and claims of a connection only with the role documents.",
  request: z
    .strictObject({
      claims: json
        .nullable()
        .default(null)
        .describe("The claims of the user's token; null: an anonymous user."),
      connection: connectionId
        .optional()
        .describe("In place of claims: the id of a live connection, whose user is meant."),
      collection: z.string().min(1).max(255).describe("The name that clients use."),
      filter: json.optional().describe("The client's own filter."),
      fields: z.array(z.string()).max(1_000).optional().describe("The client's own fields."),
      sort: z
        .array(z.tuple([z.string(), z.union([z.literal(1), z.literal(-1)])]))
        .max(32)
        .optional(),
      limit: z.int().min(1).optional(),
      aggregate: json.optional(),
      documentId: z
        .unknown()
        .optional()
        .describe("The _id of one document, as Extended JSON: who decides about it?"),
      draft: z
        .string()
        .nullable()
        .default(null)
        .describe(
          "A text as POST /plan takes it: the request is tried under its rules as well. Only for the role edit; with connection for the role documents as well.",
        ),
    })
    .refine(({ claims, connection }) => claims === null || connection === undefined, {
      path: ["connection"],
      error: "name claims or a connection, not both",
    }),
  answer: z.strictObject({
    ...outcomeUnderRules,
    user: z
      .strictObject({
        sub: z.string().nullable(),
        claims: json.nullable().describe("Null without the role documents, and for an anonymous client."),
        redacted: z.boolean().describe("Whether claims, and the values of all conditions, are left out."),
      })
      .nullable()
      .describe("The user of the connection; null if the request has no connection."),
    draft: z
      .union([
        z.strictObject(outcomeUnderRules),
        z.strictObject({ problems: z.array(z.strictObject({ ...at, message: z.string() })) }),
      ])
      .nullable()
      .describe("The same under the draft, or its mistakes; null without one."),
  }),
} as const satisfies EndpointSpec;
