import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { amount } from "../protocol/amount.ts";
import { EMBEDDED_URI } from "../source/options.ts";
import { StartupError } from "../source/startup-error.ts";
import type { Io } from "../terminal/io.ts";
import { type Command, DEFAULT_CONFIG, UsageError } from "./command.ts";
import { ENV_FILE, envLine, mergeEnv } from "./env-file.ts";
import { BACKENDS, type Backend, backendFiles } from "./init/backends.ts";
import { configText } from "./init/config-file.ts";
import { databaseOf, type FoundDatabase, readDeployment } from "./init/read-deployment.ts";
import { withProgress } from "./progress.ts";

const HELP = `Usage: tidewire init [DIR] [options]

Writes a first configuration for your own MongoDB: the collections of a database with rules that let nobody read
anything yet, a backend that signs tokens, a page that shows a live list, and .env with a random secret. Reads the
names of collections, and of one document per collection the names of its fields. Changes nothing in MongoDB.

Options:
      DIR                the folder to write to (default: this one)
      --uri URI          your MongoDB (default $MONGODB_URI; on a terminal, init asks)
      --database NAME    the database (default: that of the URI, or the only one)
      --backend NAME     express (default), fastify, or next
      --offline          connect to nothing; one example collection. Without a URI: a private mongod
      --force            overwrite files; an existing secret and other variables in .env stay

Examples:
  tidewire init shop --uri 'mongodb://127.0.0.1:27017/shop?replicaSet=rs0'
  tidewire init --backend next
  tidewire init trial --offline

Exit codes: 0 the files are written, 1 they are not, 2 the command line is invalid.`;

const PAGE_PORT = 3000;
const SECRET = "TIDEWIRE_JWT_SECRET";
const SECRET_BYTES = 32;
/** The example collection where no real one is known. */
const EXAMPLE = { name: "todos" };

interface Plan {
  readonly uri: string;
  readonly found: FoundDatabase;
  readonly backend: Backend;
}

interface NewFile {
  readonly path: string;
  readonly text: string;
  readonly mode?: number;
}

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      uri: { type: "string" },
      database: { type: "string" },
      backend: { type: "string", default: "express" },
      offline: { type: "boolean", default: false },
      force: { type: "boolean", default: false },
    },
  });
  const [folder = ".", ...more] = positionals;
  if (more.length > 0) throw new UsageError("init takes one folder");
  const backend = BACKENDS.find((known) => known === values.backend);
  if (backend === undefined) throw new UsageError(`--backend takes one of ${BACKENDS.join(", ")}`);
  const appFolder = existsSync(join(folder, "src", "app")) ? "src/app" : "app";
  if (!values.force) refuseExisting(folder, [ENV_FILE, DEFAULT_CONFIG, ...pathsOf(backend, appFolder)]);
  const uri = values.uri ?? (io.env["MONGODB_URI"] || undefined) ?? (await askUri(io, values.offline));
  const found = values.offline
    ? offline(uri, values.database)
    : await withProgress(io, "connecting to MongoDB", readDeployment(uri, values.database));
  const plan = {
    uri,
    found: found.collections.length > 0 ? found : { ...found, collections: [EXAMPLE] },
    backend,
  };
  const files = await filesOf(folder, plan, appFolder);
  await writeAll(folder, files, values.force);
  io.out(`Written: ${files.map(({ path }) => path).join(", ")}`);
  io.out(await nextSteps(folder, plan, found, appFolder));
  return 0;
}

const pathsOf = (backend: Backend, appFolder: string) =>
  backendFiles(backend, "", appFolder).files.map(({ path }) => path);

/** Checked before anybody is asked and before MongoDB is. */
function refuseExisting(folder: string, paths: readonly string[]): void {
  const existing = paths.filter((path) => existsSync(join(folder, path)));
  if (existing.length === 0) return;
  throw new StartupError(
    `these files exist already: ${existing.join(", ")}. Nothing was written. Choose another folder, or add --force to overwrite them`,
  );
}

async function askUri(io: Io, isOffline: boolean): Promise<string> {
  if (isOffline) return EMBEDDED_URI;
  if (io.ask === undefined)
    throw new UsageError(
      "--uri is needed, such as --uri 'mongodb://127.0.0.1:27017/shop?replicaSet=rs0'; or --offline",
    );
  const answer = (await io.ask("The URI of your MongoDB (mongodb://… or mongodb+srv://…): ")).trim();
  if (answer === "") throw new UsageError("no URI was given. --offline writes the files without one");
  return answer;
}

const offline = (uri: string, database: string | undefined): FoundDatabase => ({
  database: database ?? databaseOf(uri) ?? "app",
  collections: [],
  leftOut: [],
  isStandalone: false,
});

async function filesOf(folder: string, { uri, found, backend }: Plan, appFolder: string): Promise<NewFile[]> {
  const [first = EXAMPLE] = found.collections;
  const variables = {
    MONGODB_URI: uri,
    [SECRET]: randomBytes(SECRET_BYTES).toString("hex"),
    DEV_USER: "ada",
  };
  const existing = await textOf(join(folder, ENV_FILE));
  const lines = Object.entries(variables).map(([name, value]) => envLine(name, value));
  const env = existing === undefined ? `${lines.join("\n")}\n` : mergeEnv(existing, variables, [SECRET]);
  const ignored = await textOf(join(folder, ".gitignore"));
  return [
    { path: ENV_FILE, text: env, mode: 0o600 },
    { path: DEFAULT_CONFIG, text: configText({ ...found, pagePort: PAGE_PORT }) },
    ...backendFiles(backend, first.name, appFolder).files,
    ...(ignored === undefined
      ? [{ path: ".gitignore", text: `${ENV_FILE}\n.tidewire/\nnode_modules/\n` }]
      : []),
  ];
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw notWritten(path, cause);
  }
}

async function writeAll(folder: string, files: readonly NewFile[], force: boolean): Promise<void> {
  for (const { path, text, mode } of files) {
    const file = join(folder, path);
    try {
      await mkdir(dirname(file), { recursive: true });
      // "wx" fails where the file exists, even if it appeared just now.
      await writeFile(file, text, { flag: force ? "w" : "wx", ...(mode === undefined ? {} : { mode }) });
      if (mode !== undefined) await chmod(file, mode); // the mode above is only for a new file
    } catch (cause) {
      throw notWritten(file, cause);
    }
  }
}

function notWritten(file: string, cause: unknown): StartupError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown error";
  return new StartupError(`${file} cannot be read or written (${code})`, [], { cause });
}

async function nextSteps(
  folder: string,
  plan: Plan,
  found: FoundDatabase,
  appFolder: string,
): Promise<string> {
  const { backend } = plan;
  const { packages, run: start, page } = backendFiles(backend, "", appFolder);
  const ignored = (await textOf(join(folder, ".gitignore"))) ?? "";
  const notes = [
    ...(found.collections.length === 0
      ? [`The configuration holds the example collection ${EXAMPLE.name}: write the names of your own.`]
      : [`The configuration lists ${amount(found.collections.length, "collection")} of ${found.database}.`]),
    ...(found.leftOut.length === 0
      ? []
      : [`Left out, as change streams do not report them: ${found.leftOut.join(", ")}.`]),
    ...(found.isStandalone
      ? [
          "This server is a standalone one. Tidewire needs a replica set; one node is enough: start mongod with --replSet and run rs.initiate().",
        ]
      : []),
    ...(/^\.env\s*$/m.test(ignored) ? [] : ["Add .env to .gitignore: it holds a secret."]),
  ];
  const commands: readonly (readonly [command: string, note?: string])[] = [
    ...(folder === "." ? [] : [[`cd ${folder}`] as const]),
    [`npm install ${packages.join(" ")}`],
    ["npx tidewire check"],
    ["npx tidewire start", "leave it running"],
    [
      start,
      `in another terminal${folder === "." ? "" : `, in ${folder}`}; then open http://127.0.0.1:${PAGE_PORT}${page}`,
    ],
  ];
  const width = Math.max(...commands.map(([command, note]) => (note === undefined ? 0 : command.length)));
  return [
    ...notes,
    "",
    "Next:",
    ...commands.map(([command, note]) =>
      note === undefined ? `  ${command}` : `  ${command.padEnd(width)}  # ${note}`,
    ),
    "",
    `Nobody can read anything yet. Edit the rules in ${DEFAULT_CONFIG}; a running service applies them when you save.`,
  ].join("\n");
}

/** `tidewire init`: a first configuration for a database that exists. */
export const init: Command = { help: HELP, run };
