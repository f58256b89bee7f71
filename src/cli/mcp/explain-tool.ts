import { z } from "zod";
import { openConfig } from "../../config/config.ts";
import type { EffectiveQuery } from "../../rules/authorize.ts";
import { compileRules } from "../../rules/compile-rules.ts";
import { explainAuthorization } from "../../rules/explain-authorization.ts";
import { readDocument } from "../../rules/read-document.ts";
import { explanationJson, explanationText, unknownCollection } from "../explain-text.ts";
import { snapshotIndex } from "../snapshot-index.ts";
import { type ChosenText, chooseRules, DRAFT_INPUT, NOTES_OUTPUT } from "./configured.ts";
import { REQUEST_INPUT, requestOf } from "./request-input.ts";
import type { McpSettings } from "./settings.ts";
import { defineTool, type Tool, ToolError } from "./tool.ts";

const Output = z.object({
  collection: z.string(),
  outcome: z.string().describe("`allowed`, or the code of the error that the client receives."),
  reason: z.string().nullable().describe("Why the request is refused."),
  rules: z
    .array(z.object({ name: z.string(), applies: z.boolean(), because: z.string() }))
    .describe("In their order; the first that applies decides."),
  query: z
    .record(z.string(), z.unknown())
    .nullable()
    .describe(
      "The resulting access: rule, namespace, filter (Extended JSON), fields, aggregate, snapshotAllowed.",
    ),
  index: z.string().nullable().describe("Whether an index serves the snapshot."),
  document: z
    .object({
      visible: z.boolean(),
      because: z.string(),
      path: z.string().nullable(),
      shown: z.string().nullable(),
    })
    .nullable()
    .describe("The verdict on the given document."),
  notes: NOTES_OUTPUT,
});

/** The tool `explain`. */
export const explainTool = (settings: McpSettings): Tool =>
  defineTool({
    name: "explain",
    title: "Explain the access of a user",
    description:
      "Explains which rule applies to a user on a collection and why the earlier ones do not, the filter and the fields that result, whether a given document is visible and which condition decides, and which index serves the snapshot. The function that authorizes clients decides. Use it to answer why a user sees too much or too little, with the rules in force or with a draft. It reads no documents: lookups count as empty.",
    input: z.strictObject({
      ...REQUEST_INPUT,
      claims: z
        .record(z.string(), z.unknown())
        .optional()
        .describe(
          'The claims of the user\'s token, such as {"sub":"u1","roles":["admin"]}. Omit for an anonymous user.',
        ),
      document: z
        .record(z.string(), z.unknown())
        .optional()
        .describe("A document in Extended JSON: is it visible?"),
      ...DRAFT_INPUT,
    }),
    output: Output,
    isOpenWorld: true,
    run: async ({ claims, document: given, collection, filter, fields, aggregate, ...draft }) => {
      const { source, chosen } = await chooseRules(draft, settings);
      const names = Object.keys(source.collections);
      if (!names.includes(collection)) throw new ToolError(unknownCollection(collection, names));
      const document = given === undefined ? undefined : readDocument(given);
      if (given !== undefined && document === undefined)
        throw new ToolError(
          'document is not Extended JSON. Write ids as {"$oid":"…"} and dates as {"$date":"…"}',
        );
      const request = requestOf({ collection, filter, fields, aggregate });
      const subject = claims === undefined ? null : { claims };
      const explanation = explainAuthorization(
        compileRules(source),
        subject,
        request,
        settings.now(),
        document,
      );
      const { query } = explanation;
      const index = query === null ? null : await indexOf(chosen, query);
      const notes = chosen.note === null ? [] : [chosen.note];
      return {
        text: [explanationText(explanation, subject, index), ...notes].join("\n\n"),
        data: { ...explanationJson(explanation, index), notes },
      };
    },
  });

async function indexOf({ text, file, env, draft }: ChosenText, query: EffectiveQuery): Promise<string> {
  if (draft !== null) return "not checked: a draft opens no connection";
  return snapshotIndex(async () => (await openConfig(text, file, env)).config, query);
}
