import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { z } from "zod";
import { compileRules, RulesRefused, type RulesSource } from "../rules/compile-rules.ts";
import { DEFAULT_DATA_DIR } from "../source/options.ts";
import { Collections, ConfigSchema, Limits } from "./config-schema.ts";
import { type ConfigProblem, type ConfigText, readConfigText } from "./config-text.ts";
import { crossProblems } from "./cross-problems.ts";
import { type Report, toCodeForm } from "./file-form.ts";
import { fileProblems } from "./file-problems.ts";
import { fileIssues } from "./issue-text.ts";

/** Frozen, all the way down. */
export type Config = Readonly<z.output<typeof ConfigSchema>>;

export type ParsedConfig =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** A file that is not a configuration, with everything that is wrong with it. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[], options?: ErrorOptions) {
    super(problems.map(formatProblem).join("\n"), options);
    this.problems = problems;
  }
}

/** One line: `file:line:column: path: message`. Editors and terminals make the place a link. */
export function formatProblem({ file, line, column, path, message }: ConfigProblem): string {
  return `${file}:${line}:${column}: ${path === "" ? "" : `${path}: `}${message}`;
}

/**
 * Judges a configuration whole: either the frozen `Config`, or all that is wrong with it, in the file's order.
 * Opens no file and no connection; relative paths in the text start at the folder of `file`.
 * @param env Where `${NAME}` is looked up. No value of it appears in a problem's text.
 */
export function parseConfig(text: string, file: string, env: NodeJS.ProcessEnv): ParsedConfig {
  return judge(readConfigText(text, file, env), file);
}

/**
 * Reads and judges a configuration file, and opens the key files that it names.
 * @throws {ConfigError} With every problem of the file, or the one that it cannot be read.
 */
export async function loadConfig(path: string, env: NodeJS.ProcessEnv = process.env): Promise<Config> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    const message = `the file cannot be read (${errorCode(cause)}). Name another with --config`;
    throw new ConfigError([{ file: path, line: 1, column: 1, path: "", message }], { cause });
  }
  const source = readConfigText(text, path, env);
  const parsed = judge(source, path);
  if (!parsed.ok) throw new ConfigError(parsed.problems);
  const problems: ConfigProblem[] = [];
  for await (const { path: place, message } of fileProblems(parsed.config)) {
    problems.push(source.problem(place, message));
  }
  if (problems.length > 0) throw new ConfigError(inFileOrder(problems));
  return parsed.config;
}

function judge(source: ConfigText, file: string): ParsedConfig {
  const problems: ConfigProblem[] = [...source.problems];
  const done = () => ({ ok: false, problems: inFileOrder(problems) }) as const;
  if (source.value === undefined || source.value === null) {
    if (problems.length === 0) {
      problems.push(source.problem([], "the file is empty. Write at least mongodb, auth and collections"));
    }
    return done();
  }
  const seen = new Set(problems.map(({ path }) => path));
  const report: Report = (path, message, at) => {
    const problem = source.problem(path, message, at);
    // One text per place: what follows from a problem that is already told helps nobody.
    if (problem.path !== "" && seen.has(problem.path)) return;
    seen.add(problem.path);
    problems.push(problem);
  };
  const codeForm = toCodeForm(ConfigSchema, source.value, source, report);
  // The schemas' own texts stand; where there is none, the issue's code tells the next step to write one.
  const parsed = ConfigSchema.safeParse(codeForm, { error: (issue) => issue.code });
  if (!parsed.success) {
    for (const { path, message } of fileIssues(ConfigSchema, parsed.error, source)) report(path, message);
  }
  reportRules(parsed.data ?? rulesAlone(codeForm), source, report);
  if (!parsed.success) return done();
  for (const { path, message } of crossProblems(parsed.data)) report(path, message);
  if (problems.length > 0) return done();
  return { ok: true, config: deepFreeze(withAbsolutePaths(parsed.data, file)) };
}

/** The collections of a file whose other sections are not right yet, so that their rules are judged all the same. */
function rulesAlone(codeForm: unknown): RulesSource | undefined {
  const given = typeof codeForm === "object" && codeForm !== null && "collections" in codeForm;
  const collections = Collections.safeParse(given ? codeForm.collections : undefined);
  if (!collections.success) return undefined;
  return { mongodb: { database: "" }, collections: collections.data, limits: Limits.parse({}) };
}

function reportRules(rules: RulesSource | undefined, source: ConfigText, report: Report): void {
  if (rules === undefined) return;
  try {
    compileRules(rules);
  } catch (error) {
    if (!(error instanceof RulesRefused)) throw error;
    for (const { path, at, message } of error.problems) {
      report(source.inside(["collections", ...path], at), message);
    }
  }
}

function errorCode(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "unknown error";
}

function inFileOrder(problems: ConfigProblem[]): ConfigProblem[] {
  return problems.sort((a, b) => a.line - b.line || a.column - b.column);
}

type Writable = z.output<typeof ConfigSchema>;

/** Paths in a file mean its own folder, so that the service may be started from anywhere. */
function withAbsolutePaths(config: Writable, file: string): Writable {
  const at = (path: string) => resolve(dirname(file), path);
  const { mongodb, server, auth } = config;
  return {
    ...config,
    mongodb: {
      ...mongodb,
      // The default is the one path that nobody has written into the file: it means the working directory.
      dataDir: mongodb.dataDir === DEFAULT_DATA_DIR ? resolve(mongodb.dataDir) : at(mongodb.dataDir),
      ...(mongodb.binary === undefined ? {} : { binary: at(mongodb.binary) }),
    },
    server: {
      ...server,
      ...(server.tls === undefined ? {} : { tls: { cert: at(server.tls.cert), key: at(server.tls.key) } }),
    },
    auth: {
      ...auth,
      ...(auth.jwt?.publicKey === undefined
        ? {}
        : { jwt: { ...auth.jwt, publicKey: at(auth.jwt.publicKey) } }),
    },
  };
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  // Lists are frozen already by their schema, but not what is in them.
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
