/**
 * The schema of a file of rule tests (docs/rules.md, "Testing rules"). A test that cannot fail is refused, because it
 * would give false confidence.
 */
import { z } from "zod";
import { readDocument } from "./read-document.ts";
import { hasPath } from "./shown-difference.ts";

const map = z.record(z.string(), z.unknown());

const document = map.refine((value) => readDocument(value) !== undefined, {
  error: 'a document, as plain values or Extended JSON such as { "$oid": "…" }',
});

const given = z
  .record(z.string(), z.array(document).readonly())
  .describe("By collection, the documents that lookups find there.");

const now = z
  .string()
  .refine(
    (text) => /^\d{4}-\d{2}-\d{2}T.*(?:Z|[+-]\d{2}:\d{2})$/.test(text) && !Number.isNaN(Date.parse(text)),
    {
      error: "a point in time with its zone, such as 2026-01-15T12:00:00Z",
    },
  )
  .meta({ examples: ["2026-01-15T12:00:00Z"] })
  .describe("The value of %%now. Unset: the time of the run.");

const PAIR = { error: "a pair of a path and 1 or -1, such as [at, -1]" };

/** One document, and whether the user sees it. */
const DocumentExpectation = z
  .strictObject({
    visible: document.optional().describe("A document that the user must see."),
    hidden: document.optional().describe("A document that the user must not see."),
    shown: document
      .optional()
      .describe("Exactly what the user sees of it; the order of keys does not count."),
    without: z
      .array(z.string().min(1))
      .min(1)
      .readonly()
      .optional()
      .meta({ examples: [["margin"]] })
      .describe("Paths of it that the user must not see."),
  })
  .superRefine(({ visible, hidden, shown, without = [] }, context) => {
    const refuse = (message: string, ...path: (string | number)[]) =>
      context.addIssue({ code: "custom", message, path });
    if ((visible === undefined) === (hidden === undefined))
      refuse("either visible or hidden, each a document");
    if (visible === undefined) {
      const reason = "only beside visible, as nothing is seen of a hidden document";
      if (shown !== undefined) refuse(reason, "shown");
      if (without.length > 0) refuse(reason, "without");
      return;
    }
    for (const [index, path] of without.entries()) {
      // A path that the document does not have would be hidden under any rule.
      if (!hasPath(visible, path)) refuse("a path that the visible document has", "without", index);
    }
  });
/** The expectations of a test about one document. */
export type DocumentExpectation = z.output<typeof DocumentExpectation>;

/** One test: the user, the request, and the expected outcome. */
const RuleTest = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .meta({ examples: ["customers see their own orders"] })
      .describe("The expected behaviour, as a sentence."),
    as: map
      .optional()
      .meta({ examples: [{ sub: "ada" }] })
      .describe("The claims of the user's token."),
    anonymous: z
      .literal(true, { error: "true, or leave it out" })
      .optional()
      .describe("A user without a token."),
    collection: z
      .string()
      .min(1)
      .meta({ examples: ["orders"] })
      .describe("As clients name it."),
    filter: map.optional().describe("The client's own filter."),
    fields: z.array(z.string()).readonly().optional().describe("The client's own fields."),
    sort: z
      .array(z.tuple([z.string(PAIR), z.union([z.literal(1), z.literal(-1)], PAIR)], PAIR))
      .readonly()
      .optional()
      .meta({ examples: [[["at", -1]]] })
      .describe("The client's sort: pairs of a path and 1 or -1."),
    limit: z.int().min(1).optional().describe("The client's limit."),
    snapshot: z.boolean().optional().describe("false: the client asks for changes only."),
    aggregate: map
      .optional()
      .meta({ examples: [{ by: "status" }] })
      .describe("The client asks for counts and groups: by and values. A document counts if it is visible."),
    now: now.optional(),
    given: given.optional(),
    expect: z
      .enum(["allowed", "forbidden"])
      .optional()
      .describe("Whether the client gets anything at all. Unset: allowed."),
    rule: z.string().min(1).optional().describe("The rule that must apply."),
    documents: z
      .array(DocumentExpectation)
      .min(1)
      .readonly()
      .optional()
      .describe("The visible and the hidden documents."),
  })
  .superRefine((test, context) => {
    const refuse = (message: string, ...path: string[]) =>
      context.addIssue({ code: "custom", message, path });
    if ((test.as === undefined) === (test.anonymous === undefined)) {
      refuse("either as (the claims of a token) or anonymous: true");
    }
    if (test.expect === undefined && test.rule === undefined && test.documents === undefined) {
      refuse("something to expect: documents, expect or rule");
    }
    if (test.expect === "forbidden" && test.documents !== undefined) {
      refuse("no documents beside expect: forbidden, as none is seen. Make it two tests", "documents");
    }
  });
/** One test in the form of the file. */
export type RuleTest = z.output<typeof RuleTest>;

/** A file of rule tests. `now` and `given` apply to each test that has none of its own. */
export const RuleTestFile = z.strictObject({
  now: now.optional(),
  given: given.optional(),
  tests: z.array(RuleTest).min(1).readonly().describe("The tests, each for itself."),
});
/** A file of rule tests. */
export type RuleTestFile = z.output<typeof RuleTestFile>;
