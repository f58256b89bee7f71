/** The configuration that a tool works with: the one that the server was started with, or a draft. */
import { z } from "zod";
import { ConfigError, formatProblem, readConfigFile } from "../../config/config.ts";
import { type ConfiguredRules, readRules } from "../../config/load-rules.ts";
import { type DraftEnvironment, draftEnvironment } from "./draft-environment.ts";
import { DRAFT_MAX, readDraft } from "./draft-files.ts";
import type { McpSettings } from "./settings.ts";
import { ToolError } from "./tool.ts";

/** The input by which every tool takes a draft. */
export const DRAFT_INPUT = {
  configText: z
    .string()
    .max(DRAFT_MAX)
    .optional()
    .describe(
      "A draft of the configuration, as YAML or JSON text. At least the sections mongodb (database) and collections. Omit it to use the configuration in force. Environment variables in a draft are not filled in.",
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
  /** `null` for the configuration with which the server was started. */
  readonly draft: DraftEnvironment | null;
}

/** @throws {ToolError | ConfigError} */
export async function chooseText(
  { configText, configFile }: DraftInput,
  { configFile: started, draftFolder, env }: McpSettings,
): Promise<ChosenText> {
  if (configText !== undefined && configFile !== undefined)
    throw new ToolError("give configText or configFile, not both");
  if (configText === undefined && configFile === undefined)
    return { file: started, text: await readConfigFile(started), env, draft: null };
  const text = configText ?? (await readDraft(draftFolder, configFile ?? ""));
  const draft = draftEnvironment(text, await textOrNothing(started), env);
  return { file: configFile ?? INLINE, text, env: draft.env, draft };
}

/** The rules of the chosen configuration. @throws {ToolError} They have mistakes, which it names. */
export async function chooseRules(input: DraftInput, settings: McpSettings): Promise<ConfiguredRules> {
  const { file, text, env } = await chooseText(input, settings);
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

/** The text of the file with which the server was started; empty if it cannot be read. */
export async function textOrNothing(file: string): Promise<string> {
  try {
    return await readConfigFile(file);
  } catch (error) {
    if (error instanceof ConfigError) return "";
    throw error;
  }
}

/** One problem, as tools answer it. */
export const ProblemOutput = z.object({
  file: z.string(),
  line: z.number(),
  column: z.number(),
  path: z.string().describe("As in collections.orders.rules[0].when; empty for the file as a whole."),
  message: z.string().describe("The mistake, and what to write instead."),
});
