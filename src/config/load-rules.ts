import type { RulesSource } from "../rules/compile-rules.ts";
import { ConfigError, readConfigFile } from "./config.ts";
import { readConfigText } from "./config-text.ts";
import { areRulesInDatabase, examine, rulesAlone, sectionOf } from "./examine.ts";

/** The part of a configuration that decides which users see which documents. */
export interface ConfiguredRules {
  readonly source: RulesSource;
  /** Whether users without a token may connect. */
  readonly anonymous: boolean;
  /** `server.admin.token`; empty where there is none, or its environment variable is not set. */
  readonly adminToken: string;
}

/** The parts of a file that contain it; the empty path is the file as a whole. */
const RULES_PATH = /^(?:$|(?:collections|limits|rules|presence)\b|auth\.anonymous$)/;

const ELSEWHERE =
  "the rules are in the database. `tidewire rules pull rules.yaml` writes them to a file: name that file with --config";

/**
 * Reads the rules of a configuration file, and of the rest nothing: a machine that only tests rules has no secrets,
 * key files and addresses. The admin token is read where it is there. `loadConfig` is there to find what is wrong with them.
 * @throws {ConfigError} With every problem of the rules, or the one that the file cannot be read.
 */
export async function loadRules(path: string, env: NodeJS.ProcessEnv): Promise<ConfiguredRules> {
  return readRules(await readConfigFile(path), path, env);
}

/**
 * As `loadRules`, for a text that is at hand.
 * @throws {ConfigError} With every problem of the rules.
 */
export function readRules(text: string, file: string, env: NodeJS.ProcessEnv): ConfiguredRules {
  const source = readConfigText(text, file, env);
  const { problems, codeForm } = examine(source);
  if (areRulesInDatabase(codeForm)) throw new ConfigError([source.problem(["rules", "from"], ELSEWHERE)]);
  const concerning = problems.filter((problem) => RULES_PATH.test(problem.path));
  if (concerning.length > 0) throw new ConfigError(concerning);
  const rules = rulesAlone(codeForm);
  if (rules === undefined) throw new ConfigError(problems);
  const token = sectionOf(sectionOf(sectionOf(codeForm, "server"), "admin"), "token");
  return {
    source: rules,
    anonymous: sectionOf(sectionOf(codeForm, "auth"), "anonymous") === true,
    adminToken: typeof token === "string" ? token : "",
  };
}
