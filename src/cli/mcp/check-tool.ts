import { z } from "zod";
import { type Config, ConfigError, formatProblem, openConfig } from "../../config/config.ts";
import { type ConfigProblem, readConfigText } from "../../config/config-text.ts";
import { examine } from "../../config/examine.ts";
import { warningsOf } from "../../config/warnings.ts";
import { configSummary } from "../check.ts";
import { tryConnection } from "../try-connection.ts";
import { type ChosenText, chooseText, DRAFT_INPUT, ProblemOutput } from "./configured.ts";
import type { McpSettings } from "./settings.ts";
import { defineTool, type Tool, ToolError } from "./tool.ts";

const Output = z.object({
  valid: z.boolean(),
  problems: z.array(ProblemOutput).describe("Why the configuration cannot be used."),
  warnings: z.array(ProblemOutput).describe("Conditions that are valid and can hardly be meant."),
  collections: z
    .array(z.object({ collection: z.string(), rules: z.array(z.string()) }))
    .describe(
      "The names that clients use, and the names of the rules in their order. Empty if a section is invalid.",
    ),
  notes: z.array(z.string()).describe("The parts that were not checked, and the result of the connection."),
});

interface Checked {
  readonly config: Config | undefined;
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly ConfigProblem[];
  readonly notes: readonly string[];
}

/** The tool `check`. */
export const checkTool = (settings: McpSettings): Tool =>
  defineTool({
    name: "check",
    title: "Check a Tidewire configuration",
    description:
      "Validates the Tidewire configuration in force, or a draft of it, and returns every problem with file, line, column and what to write instead. Call it after each edit of a configuration, before anything else. Changes nothing.",
    input: z.strictObject({
      ...DRAFT_INPUT,
      connect: z
        .boolean()
        .default(false)
        .describe(
          "Also connect to the configured MongoDB and report what would keep a node from starting. Only for the configuration in force, not for drafts. Takes up to 45 seconds.",
        ),
    }),
    output: Output,
    isOpenWorld: true,
    run: async ({ connect, ...draft }) => {
      const chosen = await chooseText(draft, settings);
      if (connect && chosen.draft !== null)
        throw new ToolError(
          chosen.note ?? "connect works for the configuration in force only. Omit it for a draft",
        );
      const checked = chosen.draft === null ? await checkStarted(chosen, connect) : checkDraft(chosen);
      const { config, problems, warnings, notes } = checked;
      const lines = [
        ...problems.map(formatProblem),
        ...warnings.map((warning) => `warning: ${formatProblem(warning)}`),
        ...(config === undefined || problems.length > 0 ? [] : [configSummary(chosen.file, config)]),
        ...(problems.length > 0 || config !== undefined ? [] : [`ok: ${chosen.file}`]),
        ...notes,
      ];
      const collections = Object.entries(config?.collections ?? {}).map(([collection, { rules }]) => ({
        collection,
        rules: rules.map(({ name }) => name),
      }));
      const data = { valid: problems.length === 0, problems, warnings, collections, notes };
      return { text: lines.join("\n"), data };
    },
  });

async function checkStarted({ text, file, env }: ChosenText, connect: boolean): Promise<Checked> {
  try {
    const { config, warnings } = await openConfig(text, file, env);
    const tried = connect ? await tryConnection(config) : { text: null, warnings: [] };
    const notes = [
      ...tried.warnings.map((warning) => `warning: ${warning}`),
      ...(tried.text === null ? [] : [tried.text]),
    ];
    return { config, problems: [], warnings, notes };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { config: undefined, problems: error.problems, warnings: [], notes: [] };
  }
}

const NOT_OPENED = "not checked: the files that a draft names";

/** A draft opens no file: its paths are the text of the agent. */
function checkDraft({ text, file, env, draft, note }: ChosenText): Checked {
  const source = readConfigText(text, file, env);
  const { problems, config } = examine(source);
  // The stand-in of a variable may be invalid where its real value is not.
  const known = problems.filter(({ path }) => path === "" || !draft?.unfilled.has(path));
  const open = [...(draft?.unfilled ?? [])];
  const notes = [
    ...(note === null ? [] : [note]),
    NOT_OPENED,
    ...(open.length === 0 ? [] : [`not checked, because a variable is there: ${open.join(", ")}`]),
  ];
  return { config, problems: known, warnings: known.length > 0 ? [] : warningsOf(source), notes };
}
