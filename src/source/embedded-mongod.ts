/**
 * A private mongod for development, demos and small sites: a replica set of one member whose data stays in `dataDir`.
 * It ends together with the service, even if the service is killed, so that no orphaned process keeps the data
 * directory locked.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { becomePrimary } from "./embedded-replica-set.ts";
import { type FindMongodOptions, findMongod, type MongodBinary } from "./mongod-binary.ts";
import { LaunchError, launchMongod, type MongodProcess } from "./mongod-process.ts";
import { StartupError } from "./startup-error.ts";

/** The options of a private mongod. */
export interface EmbeddedMongodOptions {
  /** Where the data is kept. It is created if missing, and stays after `stop`. */
  readonly dataDir: string;
  /** 0, the default, takes a free port. The replica set follows, whichever port it had before. */
  readonly port?: number;
  readonly logger: Pick<Logger, "info" | "warn" | "error">;
  /** Path of a mongod to use instead of one that is found. */
  readonly binary?: string | undefined;
  /** Further arguments for mongod, such as `--setParameter`. */
  readonly args?: readonly string[];
  readonly onProgress?: FindMongodOptions["onProgress"];
  readonly env?: NodeJS.ProcessEnv | undefined;
}

/** A private mongod that is running. */
export interface EmbeddedMongod {
  readonly uri: string;
  readonly port: number;
  /** mongod's process id. */
  readonly pid: number;
  /** Ends mongod cleanly; the data stays. Calling it again does nothing. */
  stop(): Promise<void>;
}

const HOST = "127.0.0.1";
const REPLICA_SET = "tidewire";

/**
 * A service that was killed leaves its mongod running for up to 2 s, and that mongod then writes its data out. In
 * milliseconds.
 */
const PREDECESSOR_GONE_WITHIN_MS = 6_000;
const RETRY_MS = 250;

/**
 * The cache stays small beside the service. A shutdown by signal does not wait for drivers that might move to another
 * member, because there is none. The no-op writes let an idle deployment advance its clock every second.
 */
const MONGOD_ARGUMENTS = [
  "--storageEngine=wiredTiger",
  "--wiredTigerCacheSizeGB=0.5",
  "--setParameter=shutdownTimeoutMillisForSignaledShutdown=100",
  "--setParameter=diagnosticDataCollectionEnabled=false",
  "--setParameter=periodicNoopIntervalSecs=1",
];

/**
 * Starts mongod on `dataDir`, and settles when it accepts writes.
 * @throws {StartupError} No binary was found, another mongod uses the directory, or mongod refuses to start.
 */
export async function startEmbeddedMongod(options: EmbeddedMongodOptions): Promise<EmbeddedMongod> {
  const { logger } = options;
  const binary = await findMongod(options);
  const dbPath = resolve(options.dataDir);
  await mkdir(dbPath, { recursive: true });

  const { mongod, port } = await launchUntilFree(binary, dbPath, options);
  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= mongod.stop();
    return stopping;
  };
  try {
    await becomePrimary(REPLICA_SET, `${HOST}:${port}`);
  } catch (error) {
    await stop();
    throw error;
  }
  const ended = (how: unknown) => {
    if (stopping === undefined) logger.error({ dbPath, how }, "the embedded mongod exited unexpectedly");
  };
  mongod.ended.then(ended, ended);
  logger.info({ port, pid: mongod.pid, dbPath }, "embedded mongod is ready");
  return { uri: `mongodb://${HOST}:${port}/?replicaSet=${REPLICA_SET}`, port, pid: mongod.pid, stop };
}

interface Launched {
  readonly mongod: MongodProcess;
  readonly port: number;
}

/** Retries while the mongod of a killed predecessor holds the directory, or if another process took the port. */
async function launchUntilFree(
  binary: MongodBinary,
  dbPath: string,
  options: EmbeddedMongodOptions,
): Promise<Launched> {
  const giveUpAtMs = Date.now() + PREDECESSOR_GONE_WITHIN_MS;
  for (let hasLogged = false; ; await delay(RETRY_MS)) {
    const port = options.port || (await freePort());
    const location = [
      "--port",
      String(port),
      "--dbpath",
      dbPath,
      "--bind_ip",
      HOST,
      "--replSet",
      REPLICA_SET,
    ];
    try {
      const args = [...location, ...MONGOD_ARGUMENTS, ...(options.args ?? [])];
      return { mongod: await launchMongod(binary.path, args), port };
    } catch (error) {
      if (!(error instanceof LaunchError)) throw error;
      const inUse = error.message.includes("DBPathInUse");
      // A port that the caller named is not retried: the caller wants exactly that one.
      const portTaken = !options.port && error.message.includes("Address already in use");
      if (!inUse && !portTaken) throw refused(dbPath, binary, error);
      if (Date.now() > giveUpAtMs)
        throw inUse ? await directoryInUse(dbPath) : refused(dbPath, binary, error);
      if (inUse && !hasLogged)
        options.logger.info({ dbPath }, "another mongod still uses the data: waiting for its end");
      hasLogged ||= inUse;
    }
  }
}

async function directoryInUse(dbPath: string): Promise<StartupError> {
  // mongod writes its process id into its lock file.
  const holder = (await readFile(join(dbPath, "mongod.lock"), "utf8").catch(() => "")).trim();
  const who = holder === "" ? "another mongod" : `another mongod (process ${holder})`;
  return new StartupError(
    `the data directory ${dbPath} is in use by ${who}. Stop the service that started it, or give this one ` +
      "another mongodb.dataDir.",
  );
}

function refused(dbPath: string, binary: MongodBinary, cause: LaunchError): StartupError {
  return new StartupError(
    `mongod ${binary.version} (${binary.path}) did not start on ${dbPath}. If a newer mongod wrote the data, use ` +
      "that one (mongodb.binary) or another mongodb.dataDir. It said:",
    [cause.message],
    { cause },
  );
}

/**
 * mongod does not accept port 0. The system picks a free port here, and the caller retries if another process takes it
 * before mongod does.
 */
async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, HOST);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  assert(typeof address === "object" && address !== null);
  return address.port;
}
