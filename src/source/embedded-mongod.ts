/**
 * A private mongod for development, demos and small sites: a one-node replica set whose data stays under
 * `dataDir`. mongodb-memory-server starts it, together with a process that ends it should ours be killed.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { MongoInstance, MongoInstanceEvents } from "mongodb-memory-server-core/lib/util/MongoInstance.js";
import type { Logger } from "pino";
import { becomePrimary } from "./embedded-replica-set.ts";
import { type FindMongodOptions, findMongod, type MongodBinary } from "./mongod-binary.ts";
import { StartupError } from "./startup-error.ts";

export interface EmbeddedMongodOptions {
  /** Where the data lives; made if missing, kept on `stop`. */
  readonly dataDir: string;
  /** 0, the default, takes a free one; the replica set follows, whichever it was the last time. */
  readonly port?: number;
  readonly logger: Pick<Logger, "debug" | "info" | "warn" | "error">;
  /** Path of a mongod to use instead of one that is found. */
  readonly binary?: string | undefined;
  /** Further arguments for mongod, such as `--setParameter`. */
  readonly args?: readonly string[];
  readonly onProgress?: FindMongodOptions["onProgress"];
  readonly env?: NodeJS.ProcessEnv | undefined;
}

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

/** Recovery after a kill replays the journal, which takes a while on a slow disk. */
const LAUNCH_LIMIT_MS = 120_000;

/** A predecessor that was killed leaves its mongod for up to 2 s, until the killer process looks again. */
const PREDECESSOR_GONE_WITHIN_MS = 8_000;
const RETRY_MS = 250;

/**
 * Starts mongod on `dataDir` and answers once it takes writes.
 * @throws {StartupError} No binary, the directory is in use by another mongod, or mongod refuses to start.
 */
export async function startEmbeddedMongod(options: EmbeddedMongodOptions): Promise<EmbeddedMongod> {
  const { logger } = options;
  const binary = await findMongod(options);
  const dbPath = join(resolve(options.dataDir), "mongod");
  await mkdir(dbPath, { recursive: true });

  const { instance, port } = await launchUntilFree(binary, dbPath, options);
  const pid = instance.mongodProcess?.pid;
  let stopping: Promise<unknown> | undefined;
  const stop = () => {
    stopping ??= instance.stop();
    return stopping.then(() => undefined);
  };
  try {
    if (pid === undefined) throw new StartupError("mongod ended right after it had started");
    await becomePrimary(REPLICA_SET, `${HOST}:${port}`);
  } catch (error) {
    await stop();
    throw error;
  }
  instance.once(MongoInstanceEvents.instanceClosed, (code: number | null, signal: string | null) => {
    if (stopping === undefined) logger.error({ code, signal, dbPath }, "the embedded mongod ended by itself");
  });
  logger.info({ port, pid, dbPath }, "embedded mongod is ready");
  return { uri: `mongodb://${HOST}:${port}/?replicaSet=${REPLICA_SET}`, port, pid, stop };
}

type Launch = { readonly instance: MongoInstance; readonly port: number };

/** Tries again while the directory is still held by the mongod of a killed predecessor, or the port was taken. */
async function launchUntilFree(
  binary: MongodBinary,
  dbPath: string,
  options: EmbeddedMongodOptions,
): Promise<Launch> {
  const giveUpAtMs = Date.now() + PREDECESSOR_GONE_WITHIN_MS;
  for (let told = false; ; ) {
    const port = options.port || (await freePort());
    const result = await launch(binary, dbPath, port, options);
    if ("instance" in result) return result;
    const inUse = /DBPathInUse|lock file|already running|code 100\b/i.test(result.reason);
    const portTaken = /address already in use/i.test(result.reason) && !options.port;
    if ((!inUse && !portTaken) || Date.now() > giveUpAtMs) {
      throw inUse ? await directoryInUse(dbPath) : refused(dbPath, binary, result);
    }
    if (inUse && !told) {
      options.logger.info(
        { dbPath },
        "the data directory is still in use: waiting for the mongod before us to end",
      );
      told = true;
    }
    await delay(RETRY_MS);
  }
}

interface LaunchFailure {
  readonly reason: string;
  readonly cause: unknown;
}

async function launch(
  binary: MongodBinary,
  dbPath: string,
  port: number,
  options: EmbeddedMongodOptions,
): Promise<Launch | LaunchFailure> {
  const instance = new MongoInstance({
    binary: { systemBinary: binary.path, version: binary.version },
    instance: {
      ip: HOST,
      port,
      dbPath,
      storageEngine: "wiredTiger",
      replSet: REPLICA_SET,
      launchTimeout: LAUNCH_LIMIT_MS,
      args: [...MONGOD_ARGUMENTS, ...(options.args ?? [])],
    },
    // A process group of its own: Ctrl-C in a terminal would otherwise end mongod before the service drained.
    spawn: { detached: true },
  });
  const complaints: string[] = [];
  instance.on(MongoInstanceEvents.instanceSTDOUT, (text: string) => complaints.push(...severeLines(text)));
  instance.on(MongoInstanceEvents.instanceSTDERR, (text: string) => complaints.push(text));
  try {
    await instance.start();
    return { instance, port };
  } catch (cause) {
    await instance.stop();
    const reason = [cause instanceof Error ? cause.message : String(cause), ...complaints.slice(-4)].join(
      " | ",
    );
    options.logger.debug({ err: cause, dbPath, port }, "mongod did not start");
    return { reason, cause };
  }
}

/**
 * The cache stays small beside the service; a shutdown by signal does not hold back for drivers that might
 * move elsewhere, since there is no elsewhere; an idle deployment still moves its clock every second.
 */
const MONGOD_ARGUMENTS = [
  "--wiredTigerCacheSizeGB=0.5",
  "--setParameter=shutdownTimeoutMillisForSignaledShutdown=100",
  "--setParameter=diagnosticDataCollectionEnabled=false",
  "--setParameter=periodicNoopIntervalSecs=1",
];

/** mongod logs a JSON object a line; `E` and `F` are errors and fatal errors. */
function severeLines(text: string): string[] {
  return text.split("\n").flatMap((line) => {
    try {
      const entry: unknown = JSON.parse(line);
      if (typeof entry !== "object" || entry === null || !("s" in entry && "msg" in entry)) return [];
      if (entry.s !== "E" && entry.s !== "F") return [];
      return [`${String(entry.msg)} ${"attr" in entry ? JSON.stringify(entry.attr) : ""}`.trim()];
    } catch {
      return [];
    }
  });
}

async function directoryInUse(dbPath: string): Promise<StartupError> {
  // mongod writes its process id into its lock file.
  const holder = (await readFile(join(dbPath, "mongod.lock"), "utf8").catch(() => "")).trim();
  const who = holder === "" ? "another mongod" : `another mongod (process ${holder})`;
  return new StartupError(
    `the data directory ${dbPath} is in use by ${who}. Stop the service that started it, or give this one ` +
      "another dataDir.",
  );
}

function refused(dbPath: string, binary: MongodBinary, failure: LaunchFailure): StartupError {
  return new StartupError(
    `mongod ${binary.version} (${binary.path}) did not start on ${dbPath}. If the data was written by a newer ` +
      "mongod, use that version or another dataDir. It said:",
    [failure.reason],
    { cause: failure.cause },
  );
}

/** mongod itself cannot take port 0. The system picks; should another process take it meanwhile, we pick again. */
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
