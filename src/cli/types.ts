import { readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { MongoClient } from "mongodb";
import { type Config, loadConfig } from "../config/config.ts";
import { EMBEDDED_URI } from "../source/options.ts";
import { clientOptions } from "../source/replaceable-client.ts";
import { StartupError } from "../source/startup-error.ts";
import type { Io } from "../terminal/io.ts";
import { CONFIG_FLAG, type Command, UsageError } from "./command.ts";
import { type ReadShape, readShape } from "./types/read-shapes.ts";
import { visibleShape } from "./types/visible-shape.ts";
import { TYPE_MODES, type TypedRole, type TypeMode, writeTypes } from "./types/write-types.ts";

const HELP = `Usage: tidewire types [--role NAME]… [--out FILE] [--check] [options]

Writes TypeScript types of the documents that clients receive: for each role (the name of a rule) and each collection
that has a rule of that name. The types come from the validators of the collections ($jsonSchema), reduced to the
fields that the rule shows. Where no validator is enforced they come from a sample, and say so.

Options:
      --role NAME     the name of a rule; may be repeated. Default: every name
      --values MODE   json (default), ejson or native: as in createClient({ values })
      --sample N      how many documents to read where there is no validator (default 1000)
      --out FILE      write to this file instead of the terminal
      --check         write nothing, and fail if the file differs: for a CI
  -c, --config FILE   the configuration (default config/tidewire.yaml)

Examples:
  tidewire types --role customer --out src/tidewire.ts
  tidewire types --role customer --out src/tidewire.ts --check
  tidewire types --values ejson`;

const SAMPLE_MAX = 100_000;
const SELECTION_TIMEOUT_MS = 5_000;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...CONFIG_FLAG,
      role: { type: "string", multiple: true },
      values: { type: "string", default: "json" },
      sample: { type: "string", default: "1000" },
      out: { type: "string" },
      check: { type: "boolean", default: false },
    },
  });
  const { out, check } = values;
  if (check && out === undefined) throw new UsageError("--check needs --out: the file to compare");
  const config = await loadConfig(values.config, io.env);
  const roles = rolesOf(config, values.role);
  const read = await readAll(config, roles, sampleFlag(values.sample));
  const typed = roles.map((role): TypedRole => ({ role, collections: typesOf(config, role, read) }));
  const text = writeTypes(typed, modeFlag(values.values));
  for (const [name, { isCertain, origin }] of read) if (!isCertain) io.err(`-- ${name}: from ${origin}`);
  if (out === undefined) {
    io.out(text.trimEnd());
    return 0;
  }
  if (!check) {
    await writeFile(out, text);
    io.out(`wrote ${out}`);
    return 0;
  }
  return isEqual(await readFile(out, "utf8").catch(() => ""), text, out, io) ? 0 : 1;
}

function isEqual(before: string, now: string, out: string, io: Io): boolean {
  if (before === now) {
    io.out(`${out} is up to date`);
    return true;
  }
  const known = new Set(before.split("\n"));
  const news = now.split("\n").filter((line) => !known.has(line));
  const first = news[0] ?? "a line that is there no more";
  io.err(`tidewire types: ${out} differs from the database and the rules, first in: ${first.trim()}`);
  io.err("Write it again without --check, and look at what your code makes of the difference.");
  return false;
}

function modeFlag(text: string): TypeMode {
  const mode = TYPE_MODES.find((one) => one === text);
  if (mode === undefined) throw new UsageError(`--values takes ${TYPE_MODES.join(", ")}`);
  return mode;
}

function sampleFlag(text: string): number {
  const size = Number(text);
  if (Number.isInteger(size) && size >= 1 && size <= SAMPLE_MAX) return size;
  throw new UsageError(`--sample takes a number of documents from 1 to ${SAMPLE_MAX}`);
}

function rolesOf({ collections }: Config, wanted: readonly string[] | undefined): readonly string[] {
  const known = new Set(Object.values(collections).flatMap(({ rules }) => rules.map(({ name }) => name)));
  if (known.size === 0)
    throw new StartupError(
      "the configuration has no rules. If they are in the database, `tidewire rules pull` writes them to a file: put its collections into the file that --config names",
    );
  const missing = wanted?.find((role) => !known.has(role));
  if (missing !== undefined)
    throw new UsageError(`no rule has the name ${JSON.stringify(missing)}. Names: ${[...known].join(", ")}`);
  return wanted ?? [...known];
}

/** The shapes of the collections that the roles see, by the names that clients use. */
async function readAll(
  config: Config,
  roles: readonly string[],
  sampleSize: number,
): Promise<ReadonlyMap<string, ReadShape>> {
  const { uri, database: standard, connectTimeoutMs } = config.mongodb;
  if (uri === EMBEDDED_URI)
    throw new StartupError("the embedded mongod runs only with the service: set mongodb.uri");
  const client = new MongoClient(uri, {
    ...clientOptions(connectTimeoutMs),
    serverSelectionTimeoutMS: SELECTION_TIMEOUT_MS,
  });
  try {
    const shapes = new Map<string, ReadShape>();
    for (const [name, { database = standard, collection = name, rules }] of Object.entries(
      config.collections,
    )) {
      if (!rules.some((rule) => roles.includes(rule.name))) continue;
      shapes.set(name, await readShape(client, database, collection, sampleSize));
    }
    return shapes;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.name : "no answer";
    throw new StartupError(
      `MongoDB did not say what the documents are (${reason}): \`tidewire check\` checks the connection`,
      [],
      { cause },
    );
  } finally {
    await client.close();
  }
}

function typesOf(
  { collections }: Config,
  role: string,
  read: ReadonlyMap<string, ReadShape>,
): TypedRole["collections"] {
  return Object.entries(collections).flatMap(([name, { rules }]) => {
    const rule = rules.find((one) => one.name === role);
    const found = read.get(name);
    // A rule for counts and groups shows no documents.
    if (rule === undefined || found === undefined || rule.allow.documents === false) return [];
    return [{ name, shape: visibleShape(found.shape, rule.fields), origin: found.origin }];
  });
}

/** `tidewire types`: the types of the documents that each role receives. */
export const types: Command = { help: HELP, run };
