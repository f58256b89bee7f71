/** Everything that is the same for all tools: limits, errors, and the removal of secrets. */
import { ConfigError, formatProblem } from "../../config/config.ts";
import { StartupError } from "../../source/startup-error.ts";
import { UsageError } from "../command.ts";
import { everyName } from "./draft-environment.ts";
import { fitText, fitValue, isTooDeep } from "./fit.ts";
import { longestFirst, masked, secretsOf, traces } from "./secrets.ts";
import type { McpSettings } from "./settings.ts";
import { currentText } from "./started-config.ts";
import { type Tool, ToolError } from "./tool.ts";

/** An agent that calls more tools at once is in a loop. */
const CALLS_MAX = 8;

/** The result of a call in the protocol. */
export interface ToolResult {
  readonly [key: string]: unknown;
  content: { type: "text"; text: string }[];
  structuredContent?: Record<string, unknown>;
  isError?: boolean;
}

/** Runs tools. No error of a tool leaves it. */
export class ToolFrame {
  readonly #settings: McpSettings;
  readonly #log: (text: string) => void;
  /** The texts that no answer may contain: those that are known from the start. */
  readonly #secrets: readonly string[];
  #calls = 0;

  /** @param log Takes lines for the admin, without secrets. */
  constructor(settings: McpSettings, log: (text: string) => void) {
    this.#settings = settings;
    this.#log = log;
    const { started, env, serviceUrl, adminUrl } = settings;
    this.#secrets = longestFirst([
      ...secretsOf(started.text ?? "", env),
      ...traces([env["TIDEWIRE_TOKEN"], env["TIDEWIRE_ADMIN_TOKEN"]], [serviceUrl, adminUrl?.href ?? ""]),
    ]);
  }

  async call(tool: Tool, args: unknown, signal: AbortSignal): Promise<ToolResult> {
    if (this.#calls >= CALLS_MAX)
      return failure(
        `${CALLS_MAX} calls are in progress. Wait until one of them ends, then call ${tool.name} again`,
      );
    this.#calls += 1;
    try {
      return await this.#answer(tool, args, signal);
    } finally {
      this.#calls -= 1;
    }
  }

  async #answer(tool: Tool, args: unknown, signal: AbortSignal): Promise<ToolResult> {
    const secrets = await this.#secretsOf(args);
    try {
      if (isTooDeep(args))
        throw new ToolError("the arguments nest deeper than 100 levels. Make them flatter");
      const { text, data, isFailure = false } = await tool.run(args, signal);
      const { outputMax } = this.#settings;
      const shown = fitText(masked(text, secrets), outputMax);
      // Clients refuse an output with names that the schema does not have.
      const fitted = fitValue(masked(tool.output.parse(data), secrets), outputMax);
      if (fitted === null)
        return failure(`the answer is longer than ${outputMax} characters even when it is cut. Ask for less`);
      const structuredContent = { ...fitted.value, truncated: shown.isCut || fitted.isCut };
      const note = fitted.isCut
        ? "\n… the structured output was cut: lists are shorter, long strings end with …"
        : "";
      return {
        content: [{ type: "text", text: shown.value + note }],
        structuredContent,
        ...(isFailure ? { isError: true } : {}),
      };
    } catch (error) {
      const text = masked(this.#textOf(tool, error, secrets), secrets);
      return failure(fitText(text, this.#settings.outputMax).value);
    }
  }

  /** Logs an error of the connection. Its message may quote the client, so only the part before any quotation is shown. */
  protocolError(error: Error): void {
    const text = unquoted(error.message) || "a message is none of the protocol";
    this.#log(`protocol error: ${masked(text, this.#secrets)}`);
  }

  async #secretsOf(args: unknown): Promise<string[]> {
    const given = typeof args === "object" && args !== null && "token" in args ? args.token : undefined;
    return longestFirst([
      ...this.#secrets,
      ...(await this.#writtenSinceStart()),
      ...traces([typeof given === "string" ? given : undefined], []),
    ]);
  }

  /** The secrets that somebody has written into the file since the start. Variables count as empty, because they are not filled in. */
  async #writtenSinceStart(): Promise<string[]> {
    const { started } = this.#settings;
    let text: string;
    try {
      text = await currentText(started);
    } catch {
      return []; // the tool itself reports that the file cannot be read
    }
    return text === started.text
      ? []
      : secretsOf(
          text,
          everyName(() => ""),
        );
  }

  #textOf(tool: Tool, error: unknown, secrets: readonly string[]): string {
    if (error instanceof ConfigError) return error.problems.map(formatProblem).join("\n");
    if (error instanceof ToolError || error instanceof StartupError || error instanceof UsageError)
      return error.message;
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#log(masked(`${tool.name} failed unexpectedly: ${detail}`, secrets));
    return `${tool.name} failed unexpectedly. The log of this server (standard error) has the details. Try another input, or run tidewire ${tool.name} in a terminal`;
  }
}

const unquoted = (text: string) => text.split(/["'`{[]/)[0]?.slice(0, 200) ?? "";

const failure = (text: string): ToolResult => ({ content: [{ type: "text", text }], isError: true });
