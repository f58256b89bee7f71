import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { pino } from "pino";
import { runKit, type ScenarioResult } from "../kit/run.ts";
import { ABILITIES } from "../kit/scenario.ts";
import { startEmbeddedMongod } from "../source/embedded-mongod.ts";
import type { Io } from "../terminal/io.ts";
import { paintWith } from "../terminal/paint.ts";
import { type Command, UsageError } from "./command.ts";

const HELP = `Usage: tidewire kit --driver COMMAND [options]

Runs the scenarios of the protocol kit against a client in any language. The command starts a driver of that client, which
speaks JSON lines on its standard input and output. The kit starts MongoDB (or uses MONGODB_URI) and a service for each
scenario. docs/building-a-client.md says how to write a client, and docs/protocol-kit/README.md how to write a driver.

Options:
      --driver COMMAND     a command line for the shell, such as 'go run ./driver'
      --without ABILITY    what the client cannot do; repeatable: ${ABILITIES.join(", ")}
      --only TEXT          only scenarios whose names contain the text
      --patience SECONDS   how long the client may take for each step (default 30)
      --concurrency N      scenarios that run at the same time (default: the number of cores)

Examples:
  tidewire kit --driver 'go run ./driver' --without deltas --without queries
  tidewire kit --driver 'java -jar driver.jar' --only 'cut' --patience 120`;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      driver: { type: "string" },
      without: { type: "string", multiple: true, default: [] },
      only: { type: "string" },
      patience: { type: "string", default: "30" },
      concurrency: { type: "string", default: String(availableParallelism()) },
    },
  });
  const { driver, only } = values;
  if (driver === undefined) throw new UsageError("--driver is missing: the command that starts your driver");
  const unknown = values.without.find((ability) => !ABILITIES.some((known) => known === ability));
  if (unknown !== undefined)
    throw new UsageError(`--without takes ${ABILITIES.join(" or ")}, not ${unknown}`);
  const without = new Set(ABILITIES.filter((ability) => values.without.includes(ability)));
  const patienceMs = wholeFlag("patience", values.patience) * 1_000;
  const concurrency = wholeFlag("concurrency", values.concurrency);
  const mongod = await startMongod(io);
  const counts = { passed: 0, skipped: 0, failed: 0 };
  try {
    const options = { driver, without, only, patienceMs, concurrency, mongodbUri: mongod.uri };
    await runKit(options, (result) => {
      counts[kindOf(result)]++;
      io.out(lineOf(result, io));
    });
  } finally {
    await mongod.stop();
  }
  io.out(`${counts.passed} passed, ${counts.skipped} skipped, ${counts.failed} failed`);
  return counts.failed === 0 && counts.passed > 0 ? 0 : 1;
}

const kindOf = ({ outcome }: ScenarioResult) =>
  outcome === "passed" ? "passed" : "skipped" in outcome ? "skipped" : "failed";

function lineOf(result: ScenarioResult, io: Io): string {
  const { scenario, outcome, tookMs } = result;
  const { dim, red, green } = paintWith(io.terminal === true && !io.env["NO_COLOR"]);
  const name = `step ${scenario.step}: ${scenario.name}`;
  if (outcome === "passed") return `${green("passed")}   ${name} ${dim(`${tookMs} ms`)}`;
  if ("skipped" in outcome) return `${dim("skipped")}  ${name} ${dim(`needs ${outcome.skipped}`)}`;
  return `${red("failed")}   ${name}\n${outcome.failed.replaceAll(/^/gm, "         ")}`;
}

function wholeFlag(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new UsageError(`--${name} takes a whole number above 0`);
}

/** The MongoDB that the environment names, or a private mongod that ends with the run. */
async function startMongod(io: Io): Promise<{ uri: string; stop(): Promise<unknown> }> {
  const uri = io.env["MONGODB_URI"];
  if (uri !== undefined && uri !== "") return { uri, stop: async () => undefined };
  const dataDir = await mkdtemp(join(tmpdir(), "tidewire-kit-"));
  io.err("starting a private mongod");
  const logger = pino({ base: null }, { write: (line) => io.err(`  ${JSON.parse(line).msg}`) });
  const mongod = await startEmbeddedMongod({ dataDir, logger, env: io.env });
  return {
    uri: mongod.uri,
    async stop() {
      await mongod.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** `tidewire kit`: the scenarios of the protocol kit against somebody's client. */
export const kit: Command = { help: HELP, run };
