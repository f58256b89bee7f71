/** Several processes on one port: the primary owns the port, the workers serve it (docs/decisions/13-workers.md). */
import { createServer, type Server } from "node:net";
import { availableParallelism } from "node:os";
import type { Logger } from "pino";
import { createAdminServer } from "../admin/admin-server.ts";
import type { Config } from "../config/config.ts";
import { closeServer, type Listening, listen } from "../gateway/http/listener.ts";
import type { ServerOptions } from "../gateway/options.ts";
import { runGuarded } from "../metrics/guard.ts";
import { startEmbeddedMongod } from "../source/embedded-mongod.ts";
import { EMBEDDED_URI } from "../source/options.ts";
import { Fleet } from "./fleet.ts";
import type { ClientListener } from "./messages.ts";

/** The time beyond `server.drainTimeout` to close what is left and end, in milliseconds. */
const END_WITHIN_MS = 10_000;

/** The number of serving processes; `auto` depends on the machine. */
export function workersOf({ workers }: ServerOptions): number {
  return workers === "auto" ? availableParallelism() : workers;
}

/** The process that was started, if workers serve the clients. Its caller uses it like a single node. */
export interface Primary {
  readonly node: string;
  readonly address: Listening;
  readonly adminAddress: Listening;
  /** Where clients of gRPC connect; `null` if it is not served. */
  readonly grpcAddress: Listening | null;
  /** Logs an admin in once; `null` if a credential is configured, or the listener is not on loopback. */
  readonly adminLoginUrl: string | null;
  /** Counted by this process itself. */
  readonly metrics: Fleet["counters"];
  reload(config: Config): Promise<void>;
  noteRejectedReload(): void;
  drain(): Promise<void>;
}

/**
 * Starts the workers, and listens once all of them serve.
 * @throws {StartupError} What has to be changed first.
 */
export async function startPrimary(config: Config, log: Logger): Promise<Primary> {
  const stops: (() => unknown)[] = [];
  const stopAll = async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
  };
  try {
    return await start(config, log, stops, stopAll);
  } catch (error) {
    await stopAll();
    throw error;
  }
}

async function start(
  config: Config,
  log: Logger,
  stops: (() => unknown)[],
  stopAll: () => Promise<void>,
): Promise<Primary> {
  const { server } = config;
  const mongodbUri = await startMongodb(config, log, stops);
  const fleet = new Fleet({ config, workers: workersOf(server), mongodbUri, log });
  stops.push(() => fleet.workers.end());
  await fleet.workers.start();
  const openPort = async (address: Listening, to: ClientListener) => {
    const portServer = createPort(fleet, to, log);
    stops.push(() => portServer.close());
    return { portServer, at: await listen(portServer, address) };
  };
  stops.push(() => fleet.handOut.stop());
  const open = await openPort(server, "public");
  const grpc = server.grpc === undefined ? null : await openPort(server.grpc, "grpc");
  const { server: adminServer, loginUrl } = createAdminServer({
    server,
    counters: fleet.counters,
    metrics: () => fleet.metrics(),
    readiness: () => fleet.readiness(),
    plan: (text, gone) => fleet.plan(text, gone),
    processes: fleet.processes,
    log,
  });
  stops.push(() => closeServer(adminServer));
  const adminAddress = await listen(adminServer, server.admin);
  return {
    node: fleet.node,
    address: open.at,
    grpcAddress: grpc?.at ?? null,
    adminAddress,
    adminLoginUrl: loginUrl(adminAddress),
    metrics: fleet.counters,
    reload: (next) => fleet.reload(next),
    noteRejectedReload: () => fleet.noteRejectedReload(),
    async drain() {
      open.portServer.close();
      grpc?.portServer.close();
      fleet.handOut.stop();
      await fleet.workers.drain(server.drainTimeoutMs + END_WITHIN_MS);
      await stopAll();
    },
  };
}

/** Makes the server that owns a port, and gives the workers its connections. */
function createPort(fleet: Fleet, to: ClientListener, log: Logger): Server {
  const guard = { log, metrics: fleet.counters };
  // The primary reads nothing from the socket, because the worker would miss what the primary has read.
  return createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
    // A client that has left meanwhile is noticed in the worker.
    socket.on("error", () => {});
    const take = () => fleet.handOut.take(socket, to);
    runGuarded(guard, "primary.connection", take, () => socket.destroy());
  });
}

/** An embedded mongod belongs to the primary: it outlives any worker. */
async function startMongodb({ mongodb }: Config, log: Logger, stops: (() => unknown)[]): Promise<string> {
  const { uri, dataDir, binary } = mongodb;
  if (uri !== EMBEDDED_URI) return uri;
  const mongod = await startEmbeddedMongod({ dataDir, logger: log, binary });
  stops.push(() => mongod.stop());
  return mongod.uri;
}
