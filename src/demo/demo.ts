import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { MongoClient } from "mongodb";
import { type Config, loadConfig } from "../config/config.ts";
import { deferred } from "../feed/deferred.ts";
import { amount } from "../protocol/amount.ts";
import { StartupError } from "../source/startup-error.ts";
import type { Io } from "../terminal/io.ts";
import { Child } from "./child.ts";
import { consoleUrlOf } from "./console-url.ts";
import { writeServiceConfig } from "./demo-config.ts";
import { putDemoRulesInForce } from "./first-rules.ts";
import { COLLECTION } from "./order.ts";
import { type Place, type Stops, startMongodb, startServiceProcess } from "./processes.ts";
import { PlainShow, type Show, TerminalShow } from "./show.ts";
import { VIEWERS } from "./viewers.ts";
import { signToken, Watcher } from "./watcher.ts";

/** The settings of `tidewire demo`, from its flags. */
export interface DemoOptions {
  /** 0 lets the system pick one. */
  readonly port: number;
  readonly adminPort: number;
  /** Writes per second, on average. */
  readonly rate: number;
  /** Ends after so long and then compares what the viewers hold with `find`; absent: goes on until it is aborted. */
  readonly forMs: number | undefined;
  /** Where to draw; absent: plain lines. */
  readonly terminal: NodeJS.WriteStream | undefined;
  /** Aborted when it is to end. */
  readonly signal: AbortSignal;
  /** Takes a function that is called to kill the service. */
  readonly onKillable: (kill: () => void) => void;
}

const BACKEND = fileURLToPath(new URL("backend.js", import.meta.url));
/** The directory of all files that the demo writes, in the working directory. */
const DIRECTORY = ".tidewire/demo";

/**
 * Runs the demo until it is aborted: MongoDB, the service, and a backend that writes, each a process of its own, and
 * three viewers.
 * @returns Whether every viewer held at the end what `find` shows; `true` where that was not asked.
 * @throws {StartupError}
 */
export async function runDemo(options: DemoOptions, io: Io): Promise<boolean> {
  const stops: Stops = [];
  try {
    return await run(options, io, stops);
  } finally {
    for (const stop of stops.reverse()) await stop();
  }
}

async function run(options: DemoOptions, io: Io, stops: Stops): Promise<boolean> {
  const directory = resolve(DIRECTORY);
  await mkdir(directory, { recursive: true });
  const secret = io.env["TIDEWIRE_JWT_SECRET"] || randomBytes(32).toString("hex");
  const adminToken = randomBytes(32).toString("hex");
  const configFile = `${directory}/tidewire.yaml`;
  const config = await configure(configFile, { ...io.env, TIDEWIRE_JWT_SECRET: secret });
  const { mongodb } = config;
  const mongodbUri = await startMongodb(mongodb, `${directory}/mongodb`, io, stops);
  await putDemoRulesInForce(mongodbUri, config);

  const failed = deferred();
  // Before the board is drawn, notes are plain lines.
  let show: Show = new PlainShow(io);
  const childOptions = (name: string) => ({
    env: environmentOf(mongodbUri, { secret, adminToken }),
    logFile: `${directory}/${name}.log`,
    onRestart: (how: string) => show.note(`the ${name} ended (${how}) and is started again`),
    onFailed: (lines: readonly string[]) =>
      failed.reject(new StartupError(`the ${name} keeps exiting. Its last lines:`, lines)),
  });
  // Never fulfilled, so that only its failure ends a race.
  const orFailed = <T>(work: Promise<T>) => Promise.race([work, failed.promise as Promise<never>]);

  io.err("starting the service");
  let { rate } = options;
  let backend: Child | undefined;
  const onMessage = (message: unknown) => {
    // The page chose the rate, and the service has validated it.
    rate = (message as { rate: number }).rate;
    backend?.send({ rate });
  };
  const wishes = { port: options.port, adminPort: options.adminPort, configFile, rate: () => rate };
  const serviceOptions = { ...childOptions("service"), onMessage };
  const service = await orFailed(startServiceProcess(serviceOptions, wishes, stops));
  const writer = new Child({
    ...childOptions("backend"),
    command: () => [BACKEND, mongodb.database, String(rate)],
  });
  backend = writer;
  stops.push(() => writer.stop());
  writer.isUp();

  const url = `ws://127.0.0.1:${service.place.port}`;
  await introduce(io, service.place, { secret, adminToken });
  const watchers: Watcher[] = [];
  if (options.terminal !== undefined)
    show = new TerminalShow(io, watchers, options.terminal, pageOf(service.place));
  stops.push(() => {
    show.end();
    io.err("shutting down the backend, the service and mongod");
  });
  show.note(`service: process ${service.child.pid}, backend: process ${writer.pid}`);
  options.onKillable(() => service.child.kill());
  for (const viewer of VIEWERS) {
    const watcher = new Watcher(viewer, url, secret, {
      onMessage: (from, message) => show.message(from, message),
      onState: (from, state) => show.state(from, state),
      onShutOut: (from) => show.note(`no rule gives ${from.viewer.name} access any more`),
      onRefused: (from, why) =>
        failed.reject(new StartupError(`the service refused ${from.viewer.name}: ${why}`)),
    });
    watchers.push(watcher);
    stops.push(() => watcher.stop());
  }
  await orFailed(abortedOrAfter(options.signal, options.forMs));
  if (options.signal.aborted) return true;
  await writer.stop();
  return orFailed(check(watchers, mongodbUri, mongodb.database, show));
}

/** Writes the configuration of the service. */
async function configure(file: string, env: NodeJS.ProcessEnv): Promise<Config> {
  await writeServiceConfig(file);
  return loadConfig(file, env);
}

const pageOf = ({ port }: Pick<Place, "port">) => `http://127.0.0.1:${port}/demo`;

/** The secrets of this run. */
interface Secrets {
  /** Signs the tokens of the viewers. */
  readonly secret: string;
  /** Opens the console. */
  readonly adminToken: string;
}

const environmentOf = (mongodbUri: string, { secret, adminToken }: Secrets) => ({
  MONGODB_URI: mongodbUri,
  TIDEWIRE_JWT_SECRET: secret,
  TIDEWIRE_DEMO_ADMIN_TOKEN: adminToken,
});

/** The addresses and commands for looking at the demo from outside. */
async function introduce(io: Io, { port, adminPort }: Place, { secret, adminToken }: Secrets): Promise<void> {
  const url = `ws://127.0.0.1:${port}`;
  const [, ben] = VIEWERS;
  const token = signToken(ben, secret);
  const main = relative(process.cwd(), fileURLToPath(new URL("../cli/main.js", import.meta.url)));
  io.out(
    [
      "",
      `Tidewire is running: ${url}/v1/ws   (metrics: http://127.0.0.1:${adminPort}/metrics)`,
      "",
      `See it in a browser: ${pageOf({ port })}`,
      `The console for admins: ${consoleUrlOf(adminPort, adminToken)}`,
      "",
      `A token of ${ben.name}, good for this run:`,
      `  ${token}`,
      "",
      `Follow ${ben.name}'s orders from another terminal:`,
      `  node ${main} tail --url ${url} --collection ${COLLECTION} --token ${token}`,
      "",
      "Edit the rules while it runs: on the page, in the console, or from another terminal:",
      `  export TIDEWIRE_ADMIN_TOKEN=${adminToken}`,
      `  node ${main} rules pull rules.yaml --admin http://127.0.0.1:${adminPort}`,
      `  node ${main} rules push rules.yaml -m "why" --admin http://127.0.0.1:${adminPort}`,
      "",
    ].join("\n"),
  );
}

/** Compares the viewers' results with the database. */
async function check(
  watchers: readonly Watcher[],
  mongodbUri: string,
  database: string,
  show: Show,
): Promise<boolean> {
  const client = new MongoClient(mongodbUri);
  try {
    let allEqual = true;
    for (const watcher of watchers) {
      if (watcher.isShutOut) {
        show.note(`${watcher.viewer.name} holds nothing, as no rule allows it`);
        continue;
      }
      const equal = await watcher.equalsFind(client.db(database));
      const { length } = watcher.view.documents;
      show.note(
        `${watcher.viewer.name} holds ${amount(length, "order")}, ${equal ? "as" : "NOT as"} find shows them`,
      );
      allEqual &&= equal;
    }
    return allEqual;
  } finally {
    await client.close();
  }
}

const abortedOrAfter = (signal: AbortSignal, timeoutMs: number | undefined) =>
  new Promise<void>((resolve) => {
    const timer = timeoutMs === undefined ? undefined : setTimeout(resolve, timeoutMs);
    const onAbort = () => {
      clearTimeout(timer);
      resolve();
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
