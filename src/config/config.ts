import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { z } from "zod";
import type { TlsOptions } from "../gateway/tls-options.ts";
import { DEFAULT_DATA_DIR } from "../source/options.ts";
import type { ConfigSchema } from "./config-schema.ts";
import { type ConfigProblem, type ConfigText, readConfigText } from "./config-text.ts";
import { examine, inFileOrder, sectionOf } from "./examine.ts";
import { fileProblems } from "./file-problems.ts";
import { withPresencePlaced } from "./namespaces.ts";
import { decodeUtf8, NotUtf8 } from "./utf8.ts";
import { warningsOf } from "./warnings.ts";

/** A configuration, deeply frozen, so that a running service cannot be changed by accident. */
export type Config = Readonly<z.output<typeof ConfigSchema>>;

/** A valid configuration, or every problem of the file. */
export type ParsedConfig =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** An error for a file that is not a configuration, with every problem of the file. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[], options?: ErrorOptions) {
    super(problems.map(formatProblem).join("\n"), options);
    this.problems = problems;
  }
}

/** One line: `file:line:column: path: message`. Editors and terminals make the location a link. */
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
  return (await loadConfigWithWarnings(path, env)).config;
}

/**
 * As `loadConfig`, with what is valid and most likely not meant.
 * @throws {ConfigError}
 */
export async function loadConfigWithWarnings(
  path: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<{ config: Config; warnings: readonly ConfigProblem[] }> {
  return openConfig(await readConfigFile(path), path, env);
}

/**
 * As `loadConfigWithWarnings`, from a text that was read before.
 * @param path The file of the text: problems name it, and relative paths in the text start at its folder.
 * @throws {ConfigError}
 */
export async function openConfig(
  text: string,
  path: string,
  env: NodeJS.ProcessEnv,
): Promise<{ config: Config; warnings: readonly ConfigProblem[] }> {
  const source = readConfigText(text, path, env);
  const parsed = judge(source, path);
  if (!parsed.ok) throw new ConfigError(parsed.problems);
  const problems: ConfigProblem[] = [];
  for await (const { path: location, message } of fileProblems(parsed.config)) {
    problems.push(source.problem(location, message));
  }
  if (problems.length > 0) throw new ConfigError(inFileOrder(problems));
  return { config: parsed.config, warnings: inFileOrder(warningsOf(source)) };
}

/**
 * Reads a configuration for work on the rules in the database. Its own rules are not read, so that a file can be used
 * while its collections are moved.
 * @throws {ConfigError} With every problem of the rest of the file.
 */
export async function loadConfigApartFromRules(
  path: string,
  env: NodeJS.ProcessEnv,
): Promise<{ config: Config; from: unknown }> {
  const source = readConfigText(await readConfigFile(path), path, env);
  const rules = Object(sectionOf(source.value, "rules"));
  const { collections: _, ...rest } = Object(source.value);
  const view: ConfigText = {
    value: { ...rest, rules: { ...rules, from: "database" } },
    problems: source.problems,
    problem: (at, message, where) => source.problem(at, message, where),
    found: (at) => source.found(at),
    isUnquoted: (at) => source.isUnquoted(at),
    inside: (at, dotted) => source.inside(at, dotted),
  };
  const parsed = judge(view, path);
  if (!parsed.ok) throw new ConfigError(parsed.problems);
  return { config: parsed.config, from: rules.from };
}

function judge(source: ConfigText, file: string): ParsedConfig {
  const { problems, config } = examine(source);
  if (config === undefined || problems.length > 0) return { ok: false, problems };
  return { ok: true, config: deepFreeze(withPresencePlaced(withAbsolutePaths(config, file))) };
}

/** @throws {ConfigError} The one problem that it cannot be read. */
export async function readConfigFile(path: string): Promise<string> {
  try {
    return decodeUtf8(await readFile(path));
  } catch (cause) {
    if (cause instanceof NotUtf8)
      throw new ConfigError([{ file: path, line: 1, column: 1, path: "", message: cause.message }], {
        cause,
      });
    const code = errorCode(cause);
    const message =
      code === "ENOENT"
        ? "there is no such file. tidewire init writes one; or name another with --config"
        : `the file cannot be read (${code}). Name another with --config`;
    throw new ConfigError([{ file: path, line: 1, column: 1, path: "", message }], { cause });
  }
}

function errorCode(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "unknown error";
}

type Writable = z.output<typeof ConfigSchema>;

/** Paths in a file mean its own folder, so that the service may be started from anywhere. */
function withAbsolutePaths(config: Writable, file: string): Writable {
  const at = (path: string) => resolve(dirname(file), path);
  const { mongodb, server, auth } = config;
  const withKeyFile = <T extends { readonly publicKey?: string | undefined }>(entry: T): T =>
    entry.publicKey === undefined ? entry : { ...entry, publicKey: at(entry.publicKey) };
  const { jwt: adminJwt } = server.admin;
  return {
    ...config,
    mongodb: {
      ...mongodb,
      // The default path is not written in any file, so it is relative to the working directory.
      dataDir: mongodb.dataDir === DEFAULT_DATA_DIR ? resolve(mongodb.dataDir) : at(mongodb.dataDir),
      ...(mongodb.binary === undefined ? {} : { binary: at(mongodb.binary) }),
    },
    server: {
      ...server,
      ...(adminJwt === undefined ? {} : { admin: { ...server.admin, jwt: withKeyFile(adminJwt) } }),
      ...withTlsFiles(server, at),
      ...(server.grpc === undefined ? {} : { grpc: { ...server.grpc, ...withTlsFiles(server.grpc, at) } }),
    },
    auth: {
      ...auth,
      ...(auth.jwt === undefined ? {} : { jwt: auth.jwt.map(withKeyFile) }),
    },
  };
}

const withTlsFiles = ({ tls }: { readonly tls?: TlsOptions | undefined }, at: (path: string) => string) =>
  tls === undefined ? {} : { tls: { cert: at(tls.cert), key: at(tls.key) } };

/** Freezes a value and everything in it. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  // Schemas freeze their lists, but not the items.
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
