/**
 * The schema of rules and of limits on requests. It checks forms only; whether a filter is valid is decided by
 * `compile-rules.ts`, which knows the whole configuration.
 */
import { z } from "zod";

/** The part of the section `limits` that bounds the cost of one client filter (docs/protocol.md, section 4). */
export const FilterLimits = z.strictObject({
  filterDepth: z
    .int()
    .min(1)
    .max(20)
    .default(5)
    .describe("Levels of $and, $or, $nor, $not, $elemMatch in a client's filter."),
  filterPredicates: z
    .int()
    .min(1)
    .max(10_000)
    .default(50)
    .describe("Predicates (one operator on one path) in a client's filter."),
  filterValues: z
    .int()
    .min(1)
    .max(100_000)
    .default(1_000)
    .describe("Scalar values in a client's filter, $in lists included."),
  projectionNodes: z
    .int()
    .min(1)
    .max(20_000)
    .default(1_000)
    .describe("Names in the tree that a client's fields make: a.b and a.c make three."),
  sortPaths: z
    .int()
    .min(1)
    .max(32)
    .default(8)
    .describe(
      "Paths in a client's sort. Each is followed through every matching document. MongoDB accepts at most 32.",
    ),
});
/** Limits of filters and projections in requests. */
export type FilterLimits = z.output<typeof FilterLimits>;

/** The section `rules`: how rules are evaluated. */
export const RulesOptions = z.strictObject({
  from: z
    .enum(["file", "database"])
    .default("file")
    .describe(
      "Where the collections and their rules are: in this file, or in the state database, where `tidewire rules` edits them and every node applies an edit at the same commit.",
    ),
  setBytes: z
    .int()
    .min(1_024)
    .max(8 * 1_048_576)
    .default(1_048_576)
    .describe("Largest rule set with its tests, as text. A node holds a few of them while it compiles."),
  setsKept: z
    .int()
    .min(2)
    .max(10_000)
    .default(100)
    .describe("Rule sets that `tidewire rules` keeps in the state database, for the log and for reverts."),
  applyTimeoutMs: z
    .int()
    .min(1_000)
    .max(300_000)
    .default(30_000)
    .describe(
      "How long the change stream waits for a new rule set to be compiled and its collections to be checked. After that the node keeps the rules in force and is not ready.",
    ),
  recordMs: z
    .int()
    .min(60_000)
    .max(90 * 24 * 3_600_000)
    .optional()
    .meta({ examples: [7 * 24 * 3_600_000] })
    .describe(
      "For how long distinct requests of clients are recorded in the state database, at most 10,000, with the claims that rules read and without documents. A draft of the rules can be replayed over them. Unset: nothing is recorded.",
    ),
  nowStepMs: z
    .int()
    .min(1_000)
    .max(24 * 3_600_000)
    .default(60_000)
    .describe(
      "%%now is the time rounded down to this. At each step, subscriptions move whose rules use it. Shorter steps cost more reads.",
    ),
});
/** Options of the evaluation of rules, with durations in milliseconds. */
export type RulesOptions = z.output<typeof RulesOptions>;

const path = z
  .string()
  .min(1)
  .refine((text) => text.split(".").every((part) => part !== "" && !part.startsWith("$")), {
    error: "a path such as customer.name: no empty part, none that begins with $",
  });
const paths = z.array(path).min(1).readonly();

/** A MongoDB filter in the form of the file. Here it is any object; `compileRules` parses it. */
const filter = z.record(z.string(), z.unknown());

/** Which fields a rule shows. `_id` is always visible. */
export const FieldsOptions = z
  .strictObject({
    include: paths
      .optional()
      .meta({ examples: [["title", "author.name"]] })
      .describe("Only these paths."),
    exclude: paths
      .optional()
      .meta({ examples: [["margin"]] })
      .describe("All paths except these."),
  })
  .refine(({ include, exclude }) => (include === undefined) !== (exclude === undefined), {
    error: "either include or exclude, each a list of paths",
  });
/** The fields that a rule shows: `include` or `exclude`. */
export type FieldsOptions = z.output<typeof FieldsOptions>;

/** One rule: to whom it applies, which documents it shows, which requests it allows. */
export const RuleOptions = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(64)
    .meta({ examples: ["customer"] })
    .describe("Name in check, explain and the log; unique in its collection. Clients never receive it."),
  when: filter
    .optional()
    .meta({ examples: [{ "%%user.roles": { $in: ["admin"] } }] })
    .describe("Filter over the claims, written with %%user paths. Unset: any authenticated user."),
  anonymous: z.boolean().default(false).describe("Whether the rule also applies to anonymous users."),
  filter: filter
    .optional()
    .meta({ examples: [{ customerId: "%%user.sub" }] })
    .describe("Filter over the documents; %%user.… inserts a claim. Unset: every document."),
  fields: FieldsOptions.optional()
    .meta({ examples: [{ exclude: ["margin"] }] })
    .describe("The visible fields: include or exclude paths. Unset: all."),
  allow: z
    .strictObject({
      sort: z
        .array(path)
        .readonly()
        .optional()
        .describe("Paths that clients may sort by. Unset: every visible one."),
      maxLimit: z.int().min(1).optional().describe("Largest limit that clients may request."),
      snapshot: z
        .boolean()
        .default(true)
        .describe("Whether clients may request the documents, or only changes."),
      aggregate: z
        .boolean()
        .optional()
        .describe("Whether clients may request counts and groups. Unset: true."),
      documents: z
        .boolean()
        .optional()
        .describe(
          "false: clients may request counts and groups alone. They learn how many documents there are, and never which. Unset: true.",
        ),
      requireIndex: z
        .boolean()
        .default(false)
        .describe("Refuse a request if no index serves its snapshot and its sort."),
    })
    .prefault({})
    .describe("Restricts the requests of clients."),
});
/** One rule in the form of the file. */
export type RuleOptions = z.output<typeof RuleOptions>;

/** A set of values that follows another collection, for example the rooms of which a user is a member. */
export const LookupOptions = z.strictObject({
  database: z
    .string()
    .min(1)
    .optional()
    .meta({ examples: ["shop"] })
    .describe("Unset: that of the collection."),
  collection: z
    .string()
    .min(1)
    .meta({ examples: ["members"] })
    .describe("Collection from which the set is read. Clients need no rule for it."),
  filter: filter
    .meta({ examples: [{ userId: "%%user.sub" }] })
    .describe("Filter over its documents; %%user.… inserts a claim."),
  value: path
    .meta({ examples: ["roomId"] })
    .describe("Path whose values form the set; an array contributes each element."),
});
/** One lookup in the form of the file. */
export type LookupOptions = z.output<typeof LookupOptions>;

/** One collection, under the name that clients use. */
export const CollectionOptions = z.strictObject({
  database: z
    .string()
    .min(1)
    .optional()
    .meta({ examples: ["shop"] })
    .describe("Unset: mongodb.database."),
  collection: z
    .string()
    .min(1)
    .refine((name) => !name.includes("$") && !name.includes("\0") && !name.startsWith("system."), {
      error: "the name of a collection, without $, and not one of system.*",
    })
    .optional()
    .meta({ examples: ["orders"] })
    .describe("Name in the database. Unset: the name that clients use."),
  lookups: z
    .record(
      z.string().regex(/^[A-Za-z0-9_-]+$/, { error: "a name of letters, digits, - and _" }),
      LookupOptions,
    )
    .optional()
    .meta({
      examples: [{ rooms: { collection: "members", filter: { userId: "%%user.sub" }, value: "roomId" } }],
    })
    .describe("Sets of values that rules use as %%lookup.name where an operator takes a list."),
  rules: z
    .array(RuleOptions)
    .readonly()
    .meta({ examples: [[{ name: "everyone" }]] })
    .describe(
      "The first rule whose `when` holds applies, alone. If none holds, as in an empty list: forbidden.",
    ),
});
/** One collection in the form of the file. */
export type CollectionOptions = z.output<typeof CollectionOptions>;
