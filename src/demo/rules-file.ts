import { readFile, rename, writeFile } from "node:fs/promises";
import { relative } from "node:path";
import { type Config, loadConfig, parseConfig } from "../config/config.ts";
import { DEMO_CONFIG } from "./demo-config.ts";
import type { RulesAnswer, RulesText } from "./page-api.ts";

/** The rules are the last part of the file. They begin after this line, indented by one more level. */
const RULES_LINE = "    rules:\n";
const INDENT = " ".repeat(6);

/** The demo's configuration file. The page shows and edits its rules. */
export class RulesFile {
  readonly #path: string;
  readonly #env: NodeJS.ProcessEnv;

  constructor(path: string, env: NodeJS.ProcessEnv) {
    this.#path = path;
    this.#env = env;
  }

  config(): Promise<Config> {
    return loadConfig(this.#path, this.#env);
  }

  async read(): Promise<RulesText> {
    const text = await rulesIn(this.#path);
    return { file: relative(process.cwd(), this.#path), text, original: await rulesIn(DEMO_CONFIG) };
  }

  /** Writes the file atomically, as an editor does. The service watches the file and reloads the rules. */
  async write(rules: string): Promise<RulesAnswer> {
    const before = await readFile(this.#path, "utf8");
    const [head] = split(before);
    const lines = rules.trimEnd().split(/\r?\n/);
    const text = `${head}${lines.map((line) => (line === "" ? "" : INDENT + line)).join("\n")}\n`;
    const parsed = parseConfig(text, "rules", this.#env);
    if (!parsed.ok) {
      const linesBefore = head.split("\n").length - 1;
      const within = (line: number) => Math.min(lines.length, Math.max(1, line - linesBefore));
      const problems = parsed.problems.map(({ line, message }) => ({ line: within(line), message }));
      return { problems, isEdit: false };
    }
    const draft = `${this.#path}.new`;
    await writeFile(draft, text);
    await rename(draft, this.#path);
    const old = parseConfig(before, "rules", this.#env);
    const isEdit = !old.ok || JSON.stringify(old.config) !== JSON.stringify(parsed.config);
    return { problems: [], isEdit };
  }
}

async function rulesIn(path: string): Promise<string> {
  const [, rules] = split(await readFile(path, "utf8"));
  return rules.replaceAll(new RegExp(`^${INDENT}`, "gm"), "").trimEnd();
}

/** The text up to the rules, and the rules. */
function split(text: string): [head: string, rules: string] {
  const at = text.lastIndexOf(RULES_LINE) + RULES_LINE.length;
  return [text.slice(0, at), text.slice(at)];
}
