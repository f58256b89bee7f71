import type { z } from "zod";
import { PresenceOptions } from "../presence/options.ts";
import { parseUntrusted } from "../protocol/parse-untrusted.ts";
import { compileRules, RulesRefused, type RulesSource } from "../rules/compile-rules.ts";
import { RulesOptions } from "../rules/options.ts";
import { DEFAULT_STATE_DATABASE, EMBEDDED_URI } from "../source/options.ts";
import { uriProblem } from "../source/uri-problem.ts";
import { Collections, ConfigSchema, DatabaseConfigSchema, Limits } from "./config-schema.ts";
import type { ConfigProblem, ConfigText } from "./config-text.ts";
import { crossProblems } from "./cross-problems.ts";
import { type Report, toCodeForm } from "./file-form.ts";
import { fileIssues } from "./issue-text.ts";
import { withPresencePlaced } from "./namespaces.ts";

/** The result of examining a file, valid or not. */
interface Examined {
  /** In the file's order. */
  readonly problems: readonly ConfigProblem[];
  /** Present if the schema accepts it, whatever else is wrong. */
  readonly config?: z.output<typeof ConfigSchema>;
  /** Present if the file can be read as YAML. */
  readonly codeForm?: unknown;
}

/** Judges a file whole; environment variables are filled in already. */
export function examine(source: ConfigText): Examined {
  const problems: ConfigProblem[] = [...source.problems];
  if (source.value === undefined || source.value === null) {
    if (problems.length === 0) {
      problems.push(source.problem([], "the file is empty. Write at least mongodb, auth and collections"));
    }
    return { problems: inFileOrder(problems) };
  }
  const report = reporter(source, problems);
  const written = toCodeForm(ConfigSchema, source.value, source, report);
  const isInDatabase = areRulesInDatabase(written);
  if (isInDatabase && sectionOf(written, "collections") !== undefined)
    report(["collections"], NOT_HERE, "key");
  const codeForm = isInDatabase ? { ...Object(written), collections: {} } : written;
  const schema = isInDatabase ? DatabaseConfigSchema : ConfigSchema;
  // If a schema has a text of its own, it is kept. For the others the next step writes one from the issue's code.
  const parsed = parseUntrusted(schema, codeForm, { error: (issue) => issue.code });
  if (!parsed.success) {
    for (const { path, message } of fileIssues(ConfigSchema, parsed.error, source)) report(path, message);
  }
  const uri = sectionOf(sectionOf(codeForm, "mongodb"), "uri");
  const uriFault = typeof uri === "string" && uri !== EMBEDDED_URI ? uriProblem(uri) : null;
  if (uriFault !== null) report(["mongodb", "uri"], uriFault);
  reportRules(parsed.data ?? rulesAlone(codeForm), source, report);
  if (!parsed.success) return { problems: inFileOrder(problems), codeForm };
  for (const { path, message } of crossProblems(parsed.data)) report(path, message);
  return { problems: inFileOrder(problems), config: parsed.data, codeForm };
}

const NOT_HERE =
  "rules.from is database, so the collections are not read from this file. `tidewire rules push FILE -m TEXT`, with " +
  "the name of this file, moves them to the database; then remove this section";

/** Whether a file says `rules.from: database`. */
export const areRulesInDatabase = (codeForm: unknown): boolean =>
  sectionOf(sectionOf(codeForm, "rules"), "from") === "database";

/**
 * The collections of a file whose other sections are still wrong. They are kept so that their rules are checked, too.
 */
export function rulesAlone(codeForm: unknown): RulesSource | undefined {
  const collections = parseUntrusted(Collections, sectionOf(codeForm, "collections"));
  if (!collections.success) return undefined;
  const limits = parseUntrusted(Limits, sectionOf(codeForm, "limits") ?? {});
  const rules = parseUntrusted(RulesOptions, sectionOf(codeForm, "rules") ?? {});
  const mongodb = sectionOf(codeForm, "mongodb");
  const { data: presence } = parseUntrusted(PresenceOptions, sectionOf(codeForm, "presence"));
  return withPresencePlaced({
    mongodb: {
      database: String(sectionOf(mongodb, "database") ?? ""),
      stateDatabase: String(sectionOf(mongodb, "stateDatabase") ?? DEFAULT_STATE_DATABASE),
    },
    rules: rules.data ?? RulesOptions.parse({}),
    collections: collections.data,
    limits: limits.data ?? Limits.parse({}),
    presence,
  });
}

/** The value under a key of an unknown value. */
export function sectionOf(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  // The condition has checked that it is an object with this key.
  return (value as Record<string, unknown>)[name];
}

/** Keeps one text for each location. Problems that only follow from a reported one would not help. */
export function reporter(source: ConfigText, problems: ConfigProblem[]): Report {
  const seen = new Set(problems.map(({ path }) => path));
  return (path, message, at) => {
    const problem = source.problem(path, message, at);
    if (problem.path !== "" && seen.has(problem.path)) return;
    seen.add(problem.path);
    problems.push(problem);
  };
}

/** Reports the faults of rules that the schema accepts. */
export function reportRules(rules: RulesSource | undefined, source: ConfigText, report: Report): void {
  if (rules === undefined) return;
  try {
    compileRules(rules);
  } catch (error) {
    if (!(error instanceof RulesRefused)) throw error;
    for (const { path, at, message, section = "collections" } of error.problems) {
      report(source.inside([section, ...path], at), message);
    }
  }
}

/** Sorts problems by line and column, in place. */
export function inFileOrder(problems: ConfigProblem[]): ConfigProblem[] {
  return problems.sort((a, b) => a.line - b.line || a.column - b.column);
}
