import { z } from "zod";
import { formatProblem } from "../../config/config.ts";
import type { ConfiguredRules } from "../../config/load-rules.ts";
import { diffRules } from "../../rules/diff-rules.ts";
import { askForPlan } from "../ask-plan.ts";
import { diffText, liveText } from "../plan-text.ts";
import { chooseRules, DRAFT_INPUT, NOTES_OUTPUT, rulesInForce } from "./configured.ts";
import type { McpSettings } from "./settings.ts";
import { defineTool, type Tool, ToolError } from "./tool.ts";

const PartDiff = z.object({
  part: z.string(),
  effect: z.string().describe("Whether it shows more, fewer or other documents, in words."),
  from: z.string().nullable(),
  to: z.string().nullable(),
});

const Output = z.object({
  limits: z.array(PartDiff),
  collections: z
    .array(
      z.object({
        collection: z.string(),
        change: z.enum(["added", "removed", "changed"]),
        parts: z.array(PartDiff),
        rules: z.array(
          z.object({
            rule: z.string(),
            change: z.enum(["added", "removed", "changed", "renamed"]),
            note: z.string().nullable(),
            parts: z.array(PartDiff),
          }),
        ),
      }),
    )
    .describe("The collections whose rules differ from those in force."),
  live: z
    .record(z.string(), z.unknown())
    .nullable()
    .describe(
      "The effect on the active subscriptions of the node; null if the server was started without --admin.",
    ),
  notes: NOTES_OUTPUT,
});

/** The tool `plan`. */
export const planTool = (settings: McpSettings): Tool =>
  defineTool({
    name: "plan",
    title: "Plan an edit of the rules",
    description:
      "Shows the effect of a draft of the rules before anybody saves it: the rules that differ and whether they show more or less, and, if this server knows a running node, how many of its live subscriptions would gain, lose or end, with a sample of their users. It applies nothing. Needs a draft: configText, configFile, or a change of the configuration file since this server started.",
    input: z.strictObject(DRAFT_INPUT),
    output: Output,
    isOpenWorld: settings.adminUrl !== null,
    run: async (draft) => {
      const inForce = rulesInForce(settings);
      const { source, chosen } = await chooseRules(draft, settings);
      if (chosen.draft === null)
        throw new ToolError(
          "give the draft as configText or configFile: plan compares it with the rules in force",
        );
      const edited = withDatabase(source, inForce);
      const notes = chosen.note === null ? [] : [chosen.note];
      const diff = diffRules(inForce.source, edited);
      const { adminUrl: url, env } = settings;
      if (url === null)
        return {
          text: [diffText(diff), WITHOUT_NODE, ...notes].join("\n\n"),
          data: { ...diff, live: null, notes },
        };
      const token = env["TIDEWIRE_ADMIN_TOKEN"] || inForce.adminToken;
      const plan = await askForPlan({ url, token }, edited);
      if ("problems" in plan) {
        const lines = plan.problems.map((problem) => formatProblem({ file: "draft", ...problem }));
        throw new ToolError(["the node refuses the draft. Correct it:", ...lines].join("\n"));
      }
      return {
        text: [diffText(diff), liveText(plan), ...notes].join("\n\n"),
        data: { ...diff, live: { ...plan.live }, notes },
      };
    },
  });

const WITHOUT_NODE =
  "the live subscriptions were not counted: this server was started without --admin. Nothing was applied";

/** A draft may have the collections alone. They are in the database of the configuration in force then. */
function withDatabase(
  edited: ConfiguredRules["source"],
  { source }: ConfiguredRules,
): ConfiguredRules["source"] {
  return edited.mongodb.database === "" ? { ...edited, mongodb: source.mongodb } : edited;
}
