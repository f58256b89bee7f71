/** The configuration that a tool works with: the one in force, its file if it has changed since the start, or a draft. */
import { z } from "zod";
import { ConfigError, formatProblem } from "../../config/config.ts";
import { type ConfiguredRules, readRules } from "../../config/load-rules.ts";
import { type DraftEnvironment, draftEnvironment } from "./draft-environment.ts";
import { DRAFT_MAX, readDraft } from "./draft-files.ts";
import type { McpSettings } from "./settings.ts";
import { currentText } from "./started-config.ts";
import { ToolError } from "./tool.ts";

/** The input by which every tool takes a draft. */
export const DRAFT_INPUT = {
  configText: z
    .string()
    .max(DRAFT_MAX)
    .optional()
    .describe(
      "A draft of the configuration, as YAML or JSON text. At least the sections mongodb (database) and collections. Omit it to use the configuration file. Environment variables in a draft are not filled in.",
    ),
  configFile: z
    .string()
    .max(1_024)
    .optional()
    .describe(
      "In place of configText: the path of a draft (.yaml, .yml or .json), relative to the folder that this server may read.",
    ),
};

/** The name of an inline draft in problems. */
const INLINE = "draft";

interface DraftInput {
  readonly configText?: string | undefined;
  readonly configFile?: string | undefined;
}

/** A text of a configuration. */
export interface ChosenText {
  /** The file, as problems name it. */
  readonly file: string;
  readonly text: string;
  readonly env: NodeJS.ProcessEnv;
  /** `null` for the configuration in force. */
  readonly draft: DraftEnvironment | null;
  /** A note for the agent about the choice; `null`: none. */
  readonly note: string | null;
}

/** The rules of the chosen configuration. */
export interface ChosenRules extends ConfiguredRules {
  readonly chosen: ChosenText;
}

/** @throws {ToolError | ConfigError} */
export async function chooseText(
  { configText, configFile }: DraftInput,
  settings: McpSettings,
): Promise<ChosenText> {
  if (configText !== undefined && configFile !== undefined)
    throw new ToolError("give configText or configFile, not both");
  if (configText === undefined && configFile === undefined) return textOfFile(settings);
  const text = configText ?? (await readDraft(settings.draftFolder, configFile ?? ""));
  return { file: configFile ?? INLINE, text, ...asDraft(text, settings), note: null };
}

async function textOfFile(settings: McpSettings): Promise<ChosenText> {
  const { file, text: started } = settings.started;
  const text = await currentText(settings.started);
  if (text === started) return { file, text, env: settings.env, draft: null, note: null };
  const note = `${file} ${started === null ? "did not exist, or could not be read, when this server started" : "has changed since this server started"}. Until the server is restarted, the file counts as a draft: it opens no connection, and only variables that the rules used at the start are filled in`;
  return { file, text, ...asDraft(text, settings), note };
}

function asDraft(
  text: string,
  { started, env }: McpSettings,
): { draft: DraftEnvironment; env: NodeJS.ProcessEnv } {
  const draft = draftEnvironment(text, started.text ?? "", env);
  return { draft, env: draft.env };
}

/** The rules of the chosen configuration. @throws {ToolError} They have mistakes, which it names. */
export async function chooseRules(input: DraftInput, settings: McpSettings): Promise<ChosenRules> {
  const chosen = await chooseText(input, settings);
  return { ...rulesOf(chosen), chosen };
}

/** The rules in force: those with which the server was started. @throws {ToolError} */
export function rulesInForce({ started, env }: McpSettings): ConfiguredRules {
  const { file, text } = started;
  if (text === null)
    throw new ToolError(
      `${file} could not be read when this server started. Restart the server when the file exists, or with another --config`,
    );
  return rulesOf({ file, text, env });
}

function rulesOf({ file, text, env }: Pick<ChosenText, "file" | "text" | "env">): ConfiguredRules {
  try {
    return readRules(text, file, env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const lines = error.problems.map(formatProblem);
    throw new ToolError(["the rules have mistakes. Correct them first:", ...lines].join("\n"), {
      cause: error,
    });
  }
}

/** The output by which every tool says what the agent must know of the configuration. */
export const NOTES_OUTPUT = z.array(z.string()).describe("About the configuration that was used.");

/** One problem, as tools answer it. */
export const ProblemOutput = z.object({
  file: z.string(),
  line: z.number(),
  column: z.number(),
  path: z.string().describe("As in collections.orders.rules[0].when; empty for the file as a whole."),
  message: z.string().describe("The mistake, and what to write instead."),
});
