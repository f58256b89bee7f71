import { createRequire } from "node:module";
import { ConfigError, formatProblem } from "../config/config.ts";
import { closest } from "../match/did-you-mean.ts";
import { StartupError } from "../source/startup-error.ts";
import type { Io } from "../terminal/io.ts";
import { type Command, UsageError } from "./command.ts";

interface Entry {
  readonly summary: string;
  load(): Promise<Command>;
}

/** Every command, by name. Modules are loaded on demand, because `check` must not load the whole service. */
const COMMANDS: ReadonlyMap<string, Entry> = new Map([
  ["init", { summary: "write a first configuration", load: async () => (await import("./init.ts")).init }],
  ["demo", { summary: "run a demonstration", load: async () => (await import("./demo.ts")).demo }],
  ["start", { summary: "run a node", load: async () => (await import("./start.ts")).start }],
  ["check", { summary: "validate a configuration", load: async () => (await import("./check.ts")).check }],
  [
    "explain",
    { summary: "explain the access of a user", load: async () => (await import("./explain.ts")).explain },
  ],
  [
    "test-rules",
    { summary: "run the tests of the rules", load: async () => (await import("./test-rules.ts")).testRules },
  ],
  [
    "plan",
    {
      summary: "show the effect of an edit of the rules",
      load: async () => (await import("./plan.ts")).plan,
    },
  ],
  [
    "rules",
    { summary: "edit rules that are in the database", load: async () => (await import("./rules.ts")).rules },
  ],
  [
    "token",
    { summary: "create a token for development", load: async () => (await import("./token.ts")).token },
  ],
  [
    "admin-token",
    {
      summary: "create a token for an admin",
      load: async () => (await import("./admin-token.ts")).adminToken,
    },
  ],
  [
    "vapid-keys",
    {
      summary: "create keys for push registrations",
      load: async () => (await import("./vapid-keys.ts")).vapidKeys,
    },
  ],
  [
    "import-app-services",
    {
      summary: "convert an Atlas App Services app to rules",
      load: async () => (await import("./import-app-services.ts")).importAppServices,
    },
  ],
  [
    "types",
    { summary: "write the types of documents", load: async () => (await import("./types.ts")).types },
  ],
  ["tail", { summary: "follow a live query", load: async () => (await import("./tail.ts")).tail }],
  ["mcp", { summary: "offer read-only tools to agents", load: async () => (await import("./mcp.ts")).mcp }],
  [
    "kit",
    { summary: "run the protocol kit against a client", load: async () => (await import("./kit.ts")).kit },
  ],
  ["load", { summary: "load a service and check it", load: async () => (await import("./load.ts")).load }],
  [
    "revoke",
    {
      summary: "refuse tokens before they expire",
      load: async () => (await import("./revoke.ts")).revokeTokens,
    },
  ],
  ["sinks", { summary: "show sinks, and act on them", load: async () => (await import("./sinks.ts")).sinks }],
  [
    "rotate-keys",
    {
      summary: "seal tickets with a new key",
      load: async () => (await import("./rotate-keys.ts")).rotateKeys,
    },
  ],
  [
    "new-epoch",
    {
      summary: "invalidate every cursor, after a restore",
      load: async () => (await import("./new-epoch.ts")).newEpoch,
    },
  ],
]);

// The same file from src/cli and from dist/cli.
const { version: VERSION }: { version: string } = createRequire(import.meta.url)("../../package.json");

const EXIT = { ok: 0, problems: 1, usage: 2 } as const;

/** Runs a command line.
 * @returns The exit code: 0 success, 1 problems were found, 2 the command line is invalid.
 */
export async function runCli(argv: readonly string[], io: Io): Promise<number> {
  const [name = "", ...args] = argv;
  if (name === "--version" || name === "-v" || name === "version") {
    io.out(`tidewire ${VERSION}`);
    return EXIT.ok;
  }
  const asksHelp = name === "help" || name === "--help" || name === "-h" || name === "";
  if (asksHelp) return help(args[0], io);
  const entry = COMMANDS.get(name);
  if (entry === undefined) return unknown(name, io);
  const command = await entry.load();
  if (args.includes("--help") || args.includes("-h")) {
    io.out(command.help);
    return EXIT.ok;
  }
  return runCommand(name, command, args, io);
}

/** Runs one command, and says in a line what it could not do. @returns The exit code. */
export async function runCommand(
  name: string,
  command: Command,
  args: readonly string[],
  io: Io,
): Promise<number> {
  try {
    return await command.run(args, io);
  } catch (error) {
    if (error instanceof ConfigError) {
      for (const problem of error.problems) io.err(formatProblem(problem));
      return EXIT.problems;
    }
    if (error instanceof StartupError) {
      io.err(`tidewire ${name}: ${error.message}`);
      return EXIT.problems;
    }
    if (!(error instanceof UsageError) && !isParseArgsError(error)) throw error;
    io.err(`tidewire ${name}: ${error.message}${flagGuess(error, command.help)}`);
    io.err(`See: tidewire help ${name}`);
    return EXIT.usage;
  }
}

async function help(name: string | undefined, io: Io): Promise<number> {
  if (name === undefined) {
    io.out(overview());
    return EXIT.ok;
  }
  const entry = COMMANDS.get(name);
  if (entry === undefined) return unknown(name, io);
  io.out((await entry.load()).help);
  return EXIT.ok;
}

function unknown(name: string, io: Io): number {
  const near = closest(name, [...COMMANDS.keys()]);
  const guess = near === undefined ? "" : ` Did you mean ${near}?`;
  const known = [...COMMANDS.keys()].join(", ");
  io.err(`tidewire: there is no command ${JSON.stringify(name)}.${guess} Commands: ${known}`);
  io.err("See: tidewire --help");
  return EXIT.usage;
}

function overview(): string {
  const width = Math.max(...[...COMMANDS.keys()].map((name) => name.length));
  const commands = [...COMMANDS].map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return `Tidewire: live queries on your own MongoDB.

Usage: tidewire <command> [options]

${commands.join("\n")}

Examples:
  tidewire init                                       a first configuration for your own MongoDB
  tidewire check                                      validate config/tidewire.yaml
  tidewire check --config shop.yaml                   another file
  tidewire token --sub u1 --claim roles='["admin"]'   a token to try things with
  tidewire explain --user '{"sub":"u1"}' --collection orders
                                                      which rule applies to u1, and what it shows
  tidewire test-rules                                 do the rules still do what their tests say?
  tidewire plan --config new.yaml --admin http://127.0.0.1:8481
                                                      what would this edit do to those who are connected?
  tidewire start                                      run a node
  tidewire tail --collection orders                   follow a live query from the terminal
  tidewire load --scenario load.yaml                  how fast is it for how many users, and is anything lost?

  tidewire help <command>                             options and examples of one command
  tidewire --version                                  the version

Exit codes: 0 success, 1 problems were found, 2 the command line was not understood.`;
}

/** The option of the command that an unknown one most likely means. */
function flagGuess(error: Error, help: string): string {
  if (!("code" in error) || error.code !== "ERR_PARSE_ARGS_UNKNOWN_OPTION") return "";
  const written = /'(--[^'=\s]+)/.exec(error.message)?.[1] ?? "";
  const near = closest(written, [...new Set(help.match(/--[a-z-]+/g))]);
  return near === undefined ? "" : `. Did you mean ${near}?`;
}

/** `parseArgs` throws plain errors whose codes begin alike. */
function isParseArgsError(error: unknown): error is Error {
  return error instanceof Error && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS_");
}
