/** The options of `tidewire load`, read from the command line. */
import { randomBytes } from "node:crypto";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { parseDuration, parseSize } from "../../config/units.ts";
import { UsageError } from "../command.ts";
import { type Credentials, readCredentials } from "./credentials.ts";
import { compileScenario, readScenario, type ScenarioText } from "./scenario.ts";
import { checkTarget, databaseOf, readTarget } from "./target.ts";

/** Writers, and where they write to. */
export interface WriterTarget {
  readonly uri: string;
  readonly database: string;
  readonly collection: string;
  readonly writers: number;
  readonly rate: number;
  readonly keepsDocuments: boolean;
  /** The user says that the deployment is theirs, wherever its members are. */
  readonly isOwned: boolean;
}

/** Everything that a run is given. */
export interface LoadOptions {
  /** Of the service, without a path of its own. */
  readonly url: string;
  readonly scenario: ScenarioText;
  readonly credentials: Credentials;
  /** Marks the documents of this run. */
  readonly run: string;
  readonly connections: number;
  /** New connections per second. */
  readonly ramp: number;
  readonly workers: number;
  /** `undefined`: another program writes, or nothing does. */
  readonly writing: WriterTarget | undefined;
  readonly warmUpMs: number;
  readonly durationMs: number;
  readonly settleMs: number;
  readonly maxTimeMs: number;
  readonly maxBytes: number;
  /** The share of users that leave and come back, from 0 to 1. */
  readonly leavers: number;
  readonly stayMs: number;
  readonly awayMs: number;
  /** The run fails if the 99th percentile of the delivery times is longer. */
  readonly p99Ms: number | undefined;
  readonly jsonFile: string | undefined;
  readonly svgFile: string | undefined;
}

const FLAGS = {
  url: { type: "string", default: "ws://127.0.0.1:8480" },
  scenario: { type: "string" },
  connections: { type: "string", default: "50" },
  ramp: { type: "string", default: "15" },
  workers: { type: "string", default: "1" },
  duration: { type: "string", default: "30s" },
  "warm-up": { type: "string", default: "5s" },
  settle: { type: "string", default: "15s" },
  "secret-file": { type: "string" },
  "key-file": { type: "string" },
  "key-id": { type: "string" },
  tokens: { type: "string" },
  "token-life": { type: "string", default: "1h" },
  mongodb: { type: "string" },
  database: { type: "string" },
  collection: { type: "string" },
  writers: { type: "string", default: "1" },
  rate: { type: "string", default: "10" },
  keep: { type: "boolean", default: false },
  leavers: { type: "string", default: "0%" },
  stay: { type: "string", default: "20s" },
  away: { type: "string", default: "2s" },
  "max-connections": { type: "string", default: "20000" },
  "max-bytes": { type: "string", default: "4GiB" },
  "max-time": { type: "string", default: "15m" },
  p99: { type: "string" },
  json: { type: "string" },
  svg: { type: "string" },
  "i-own-this-target": { type: "boolean", default: false },
} as const;

/** The bound of `--rate` and `--ramp`. */
const RATE_MAX = 100_000;
const WRITERS_MAX = 100;
/** The service closes connections that are shorter than this too often, and clients wait. In milliseconds. */
const STAY_MS_MIN = 5_000;

/**
 * Reads the command line, and the files that it names.
 * @throws {UsageError} The text says what to do.
 */
export async function readOptions(args: readonly string[], env: NodeJS.ProcessEnv): Promise<LoadOptions> {
  const { values } = parseArgs({ args: [...args], options: FLAGS });
  const scenario = await readScenario(values.scenario);
  const url = readTarget(values.url);
  checkTarget(url, values.mongodb, values["i-own-this-target"]);
  const maxConnections = wholeFlag("max-connections", values["max-connections"], 1, 1_000_000);
  const connections = wholeFlag("connections", values.connections, 1, 1_000_000);
  if (connections > maxConnections) {
    throw new UsageError(
      `--connections ${connections} is more than --max-connections (${maxConnections}); raise that if you mean it`,
    );
  }
  return {
    url: url.href.replace(/\/+$/, ""),
    scenario,
    credentials: await readCredentials(
      {
        secretFile: values["secret-file"],
        keyFile: values["key-file"],
        tokens: values.tokens,
        keyId: values["key-id"],
        lifeMs: durationFlag("token-life", values["token-life"], 10_000),
      },
      env,
    ),
    run: randomBytes(6).toString("hex"),
    connections,
    ramp: numberFlag("ramp", values.ramp),
    workers: wholeFlag("workers", values.workers, 1, Math.max(availableParallelism(), 2)),
    writing: readWriting(values, scenario),
    warmUpMs: durationFlag("warm-up", values["warm-up"], 0),
    durationMs: durationFlag("duration", values.duration, 1_000),
    settleMs: durationFlag("settle", values.settle, 0),
    maxTimeMs: durationFlag("max-time", values["max-time"], 1_000),
    maxBytes: sizeFlag("max-bytes", values["max-bytes"]),
    leavers: shareFlag("leavers", values.leavers),
    stayMs: durationFlag("stay", values.stay, STAY_MS_MIN),
    awayMs: durationFlag("away", values.away, 0),
    p99Ms: values.p99 === undefined ? undefined : durationFlag("p99", values.p99, 1),
    jsonFile: values.json,
    svgFile: values.svg,
  };
}

interface WritingFlags {
  readonly mongodb?: string | undefined;
  readonly database?: string | undefined;
  readonly collection?: string | undefined;
  readonly writers: string;
  readonly rate: string;
  readonly keep: boolean;
  readonly "i-own-this-target": boolean;
}

function readWriting(flags: WritingFlags, scenario: ScenarioText): WriterTarget | undefined {
  const { mongodb: uri, keep: keepsDocuments, "i-own-this-target": isOwned } = flags;
  if (uri === undefined) {
    const needing = (["database", "collection"] as const).find((name) => flags[name] !== undefined);
    if (needing !== undefined)
      throw new UsageError(`--${needing} belongs to --mongodb: give the URI as well`);
    return undefined;
  }
  const database = flags.database ?? databaseOf(uri);
  if (database === undefined)
    throw new UsageError("--database is needed: the database to which the writers write, such as shop");
  const { collections, documents } = compileScenario(scenario);
  const collection = flags.collection ?? collections[0] ?? "";
  const writers = wholeFlag("writers", flags.writers, 1, WRITERS_MAX);
  if (writers > documents) {
    throw new UsageError(
      `--writers ${writers} is more than documents (${documents}) of the scenario: each writer needs a document`,
    );
  }
  const rate = numberFlag("rate", flags.rate);
  return { uri, database, collection, writers, rate, keepsDocuments, isOwned };
}

function wholeFlag(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw new UsageError(
      `--${name} takes a whole number from ${least} to ${most}, not ${JSON.stringify(text)}`,
    );
  return value;
}

function numberFlag(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= RATE_MAX))
    throw new UsageError(`--${name} takes a number per second, above 0 and up to ${RATE_MAX}`);
  return value;
}

function durationFlag(name: string, text: string, leastMs: number): number {
  const ms = parseDuration(text);
  if (ms === undefined || ms < leastMs) {
    const least = leastMs > 0 ? ` of at least ${leastMs} ms` : "";
    throw new UsageError(`--${name} takes a duration${least}, such as 30s, 5m or 500ms`);
  }
  return ms;
}

function sizeFlag(name: string, text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined || bytes === 0)
    throw new UsageError(`--${name} takes a size, such as 512MiB or 4GiB`);
  return bytes;
}

function shareFlag(name: string, text: string): number {
  const [, percent] = /^(\d+(?:\.\d+)?)%$/.exec(text) ?? [];
  const share = Number(percent ?? Number.NaN) / 100;
  if (!(share >= 0 && share <= 1))
    throw new UsageError(`--${name} takes a share from 0% to 100%, such as 10%`);
  return share;
}
