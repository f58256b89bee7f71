import { parseArgs } from "node:util";
import { startPrimary, workersOf } from "../cluster/primary.ts";
import { guardProcess } from "../cluster/process-guard.ts";
import { type Config, loadConfigWithWarnings } from "../config/config.ts";
import { type ConfigEdits, watchConfig } from "../config/watch-config.ts";
import { awaitMajority } from "../node/await-majority.ts";
import type { ExtraRoutes } from "../node/basics.ts";
import { logOptionsOf } from "../node/tracing-of.ts";
import { startService } from "../server.ts";
import { StartupError } from "../source/startup-error.ts";
import type { Io } from "../terminal/io.ts";
import { openLog } from "../terminal/open-log.ts";
import { CONFIG_FLAG, type Command } from "./command.ts";
import { portFlag } from "./port-flag.ts";

const HELP = `Usage: tidewire start [options]

Runs one node, or several on one port (server.workers), until it receives a signal. It logs JSON lines to standard
output, or readable lines if that is a terminal; the line "listening" contains the address. An edit of the configuration file takes effect at once: rules and
collections are applied, a mistake is rejected and logged.

Options:
  -c, --config FILE       the configuration (default config/tidewire.yaml)
      --port PORT         port for clients, instead of server.port; 0 lets the system choose one
      --admin-port PORT   port for metrics and health, instead of server.admin.port

Signals:
  SIGTERM, SIGINT  drain connections within server.drainTimeout, then exit; a second signal exits at once
  SIGHUP           read the configuration again now

On a terminal, and without server.admin.tokens, server.admin.jwt and server.admin.token, it prints a URL that logs an
admin in once, if the admin listener is on loopback.

Exits with 70 after an unexpected error: it logs the error, drains its connections first, and may be restarted.

Examples:
  tidewire start
  tidewire start --config deploy/tidewire.yaml
  tidewire start --port 0 --admin-port 0 | npx pino-pretty`;

/** The ports and addresses given on the command line. */
interface Ports {
  readonly port?: number;
  readonly adminPort?: number;
}

/** A page of another command on the public listener of the node. */
interface Host {
  readonly extraRoutes: ExtraRoutes;
  /** Receives the port of the admin listener as soon as it is known. */
  readonly onAdminPort: (port: number) => void;
}

async function run(args: readonly string[], io: Io, host?: Host): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: { ...CONFIG_FLAG, port: { type: "string" }, "admin-port": { type: "string" } },
  });
  const { port, "admin-port": adminPort } = values;
  const ports = {
    ...(port === undefined ? {} : { port: portFlag("port", port) }),
    ...(adminPort === undefined ? {} : { adminPort: portFlag("admin-port", adminPort) }),
  };
  try {
    await runNode(values.config, io, ports, host);
    return 0;
  } catch (error) {
    if (!isPortError(error)) throw error;
    throw new StartupError(
      `cannot listen on ${error.address}:${error.port} (${error.code}). Choose another port in server.port or ` +
        "server.admin.port, or with --port and --admin-port; 0 lets the system pick one.",
      [],
      { cause: error },
    );
  }
}

/** Serves until SIGTERM or SIGINT: they hand the clients over, a second one ends it at once. */
async function runNode(configPath: string, io: Io, ports: Ports, host?: Host): Promise<void> {
  const { env } = io;
  const { config: loaded, warnings } = await loadConfigWithWarnings(configPath, env);
  const config = withPorts(loaded, ports);
  const log = openLog(await logOptionsOf(config), io);
  for (const { path, line, message } of warnings)
    log.warn({ path, line }, `the configuration is valid, but ${message}`);
  // A page of one's own is one process's to answer.
  const workers = host === undefined ? workersOf(config.server) : 1;
  const service =
    workers > 1
      ? await startPrimary(withPorts(config, await awaitMajority(config, log)), log)
      : await startService(config, log, host?.extraRoutes);
  const handlers: ConfigEdits = {
    onEdit: (edited) => service.reload(withPorts(edited, ports)),
    onRefused: (error) => {
      service.noteRejectedReload();
      log.error({ err: error }, "the edited configuration was rejected; the rules in force stay");
    },
  };
  const edits = watchConfig(configPath, env, loaded, handlers, { log, metrics: service.metrics });
  const { address, adminAddress, grpcAddress, node } = service;
  host?.onAdminPort(adminAddress.port);
  const grpc = grpcAddress === null ? {} : { grpcPort: grpcAddress.port };
  const several = workers > 1 ? { workers } : {};
  const drain = () => {
    edits.stop();
    return service.drain();
  };
  guardProcess({ log, drainTimeoutMs: config.server.drainTimeoutMs, drain });
  log.info({ ...address, adminPort: adminAddress.port, ...grpc, node, ...several }, "listening");
  // A log is no place for a credential, so that nothing is printed where nobody reads along.
  if (io.terminal === true && service.adminLoginUrl !== null)
    io.err(`-- to log in as an admin, once: ${service.adminLoginUrl}`);
  process.on("SIGHUP", edits.now);
  await new Promise<void>((resolve) => {
    const stop = (signal: NodeJS.Signals) => {
      process.once("SIGTERM", () => process.exit(1)).once("SIGINT", () => process.exit(1));
      log.info({ signal }, "draining connections");
      if (signal === "SIGINT" && io.terminal === true) io.err(hintOf(config));
      drain().then(resolve, (error: unknown) => {
        log.error({ err: error }, "the node could not shut down cleanly");
        process.exit(1);
      });
    };
    process.once("SIGTERM", stop).once("SIGINT", stop);
  });
}

/** Pages that are still open would keep somebody at a terminal waiting without a reason. */
const hintOf = ({ server: { drainTimeoutMs } }: Config) =>
  `-- waiting at most ${drainTimeoutMs / 1_000} s for clients to leave; press Ctrl-C again to exit at once`;

/** The configuration with the ports of the command line in place of its own, edits of the file included. */
function withPorts(config: Config, { port, adminPort }: Ports): Config {
  const { server } = config;
  return {
    ...config,
    server: {
      ...server,
      port: port ?? server.port,
      admin: { ...server.admin, port: adminPort ?? server.admin.port },
    },
  };
}

interface PortError extends Error {
  readonly code: string;
  readonly address: string;
  readonly port: number;
}

/** The error of the system when a port is not available. */
function isPortError(error: unknown): error is PortError {
  if (!(error instanceof Error && "syscall" in error && "code" in error)) return false;
  return error.syscall === "listen";
}

/** A node that answers more than the protocol on its public listener. */
export const startWith = (host: Host): Command => ({
  help: HELP,
  run: (args, io) => run(args, io, host),
});

/** `tidewire start`: runs the service. */
export const start: Command = { help: HELP, run };
