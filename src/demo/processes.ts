import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { startEmbeddedMongod } from "../source/embedded-mongod.ts";
import { EMBEDDED_URI, type MongodbOptions } from "../source/options.ts";
import { StartupError } from "../source/startup-error.ts";
import type { Io } from "../terminal/io.ts";
import { paintWith } from "../terminal/paint.ts";
import { Child, type ChildOptions } from "./child.ts";

/** Ends the started processes in reverse order. */
export type Stops = (() => unknown)[];

const SERVICE = fileURLToPath(new URL("../cli/demo-service.js", import.meta.url));
const LISTENING_WITHIN_MS = 60_000;

/**
 * Connects to the named MongoDB, or starts a private mongod. The mongod is the demo's process and not the service's, so
 * that the service can be killed without it.
 * @returns Its connection string.
 */
export async function startMongodb(
  { uri, binary }: MongodbOptions,
  dataDir: string,
  io: Io,
  stops: Stops,
): Promise<string> {
  if (uri !== EMBEDDED_URI) return uri;
  const { dim } = paintWith(io.terminal === true && !io.env["NO_COLOR"]);
  io.err("starting a private mongod");
  // Its log lines report where the binary comes from, and the progress of its download.
  const logger = pino({ base: null }, { write: (line) => io.err(dim(`  ${JSON.parse(line).msg}`)) });
  const mongod = await startEmbeddedMongod({ dataDir, binary, logger, env: io.env });
  stops.push(() => mongod.stop());
  return mongod.uri;
}

/** The ports on which the service listens. */
export interface Place {
  readonly port: number;
  readonly adminPort: number;
}

/** The demo's arguments for the service. */
export interface ServiceWishes extends Place {
  readonly configFile: string;
  /** Writes per second, for the page; asked for at each start. */
  readonly rate: () => number;
}

/** The service, and the ports that it has. */
export interface RunningService {
  readonly child: Child;
  readonly place: Place;
}

/** Starts the service, and again on the same ports whenever it ends. */
export async function startServiceProcess(
  options: Omit<ChildOptions, "command">,
  { configFile, rate, ...wanted }: ServiceWishes,
  stops: Stops,
): Promise<RunningService> {
  let place: Place = wanted;
  let onPlace: (place: Place) => void = () => {};
  const listening = new Promise<Place>((resolve, reject) => {
    onPlace = resolve;
    const text = `the service did not listen within ${LISTENING_WITHIN_MS / 1_000} s`;
    setTimeout(() => reject(new StartupError(text)), LISTENING_WITHIN_MS).unref();
  });
  const child = new Child({
    ...options,
    command: () => {
      const ports = ["--port", String(place.port), "--admin-port", String(place.adminPort)];
      return [SERVICE, configFile, String(rate()), ...ports];
    },
    onLine: (line) => {
      const found = placeIn(line);
      if (found === undefined) return;
      child.isUp();
      onPlace(found);
    },
  });
  stops.push(() => child.stop());
  place = await listening;
  return { child, place };
}

/** Where the service listens, if this line of its log says so. */
function placeIn(line: string): Place | undefined {
  if (!line.includes('"msg":"listening"')) return undefined;
  // A line of the service's own log, written by `server.ts` and `start.ts`.
  const { port, adminPort } = JSON.parse(line) as Place;
  return { port, adminPort };
}
