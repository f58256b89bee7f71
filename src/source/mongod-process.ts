/** Starts, watches and ends one mongod process. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

/** Recovery after a kill replays the journal, which takes long on a slow disk. In milliseconds. */
const LAUNCH_LIMIT_MS = 120_000;
/** How long a shutdown may take to write the data to disk, in milliseconds. */
const STOP_LIMIT_MS = 30_000;
/** How many lines of mongod's errors a failure quotes. The first line usually names the cause. */
const KEPT_COMPLAINTS = 5;

/**
 * The library's script that ends mongod within 2 s after this process ended, if it was killed before it could do so
 * itself.
 */
const KILLER = createRequire(import.meta.url).resolve("mongodb-memory-server-core/scripts/mongo_killer.js");

/** A mongod that was started. */
export interface MongodProcess {
  readonly pid: number;
  /** Settles when the process has ended, with its exit code or signal in words. */
  readonly ended: Promise<string>;
  /** Ends it cleanly, or by force after `STOP_LIMIT_MS`. */
  stop(): Promise<void>;
}

/** mongod ended, or did not start in time. The message quotes mongod's own errors. */
export class LaunchError extends Error {
  override readonly name = "LaunchError";
}

/**
 * Starts mongod, and settles when it accepts connections.
 * @throws {LaunchError} It ended before that, or took too long.
 */
export async function launchMongod(binary: string, args: readonly string[]): Promise<MongodProcess> {
  // mongod gets a process group of its own. Otherwise Ctrl-C in a terminal would end it before the service has drained.
  const child = spawn(binary, args, { detached: true, stdio: ["ignore", "pipe", "pipe"] });
  await once(child, "spawn").catch((cause: unknown) => {
    throw new LaunchError(`it cannot be run: ${String(cause)}`, { cause });
  });
  const { pid } = child;
  if (pid === undefined) throw new LaunchError("it has no process id");
  const killer = fork(KILLER, [String(process.pid), String(pid)], {
    execArgv: [],
    detached: true,
    stdio: "ignore",
  });
  killer.unref();
  killer.channel?.unref();

  const ended = once(child, "exit").then(([code, signal]) => {
    killer.kill("SIGKILL");
    return code === null ? `signal ${String(signal)}` : `exit code ${String(code)}`;
  });
  const stop = () => endProcess(child, ended);
  try {
    await accepting(child, ended);
  } catch (error) {
    await stop();
    throw error;
  }
  return { pid, ended, stop };
}

async function endProcess(child: ChildProcess, ended: Promise<string>): Promise<void> {
  child.kill("SIGTERM");
  const force = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
  await ended;
  clearTimeout(force);
}

/**
 * Waits for the log line that announces connections. mongod logs one JSON object per line. All lines are read until the
 * end, because a full pipe would block mongod.
 */
async function accepting(child: ChildProcess, ended: Promise<string>): Promise<void> {
  const complaints: string[] = [];
  const ready = new Promise<void>((resolve) => {
    for (const output of [child.stdout, child.stderr]) {
      if (output === null) continue;
      createInterface({ input: output }).on("line", (line) => {
        if (line.includes('"Waiting for connections"')) resolve();
        const complaint = severeText(line);
        if (complaint !== undefined && complaints.length < KEPT_COMPLAINTS) complaints.push(complaint);
      });
    }
  });
  const tooSlow = new AbortController();
  try {
    await Promise.race([
      ready,
      // "close" instead of "exit": it waits for both pipes, and the last log lines may arrive after the exit.
      once(child, "close").then(async () => {
        throw new LaunchError([`it ended with ${await ended}`, ...complaints].join(" | "));
      }),
      delay(LAUNCH_LIMIT_MS, undefined, { signal: tooSlow.signal }).then(() => {
        throw new LaunchError(`it did not come up within ${LAUNCH_LIMIT_MS / 1_000} s`);
      }),
    ]);
  } finally {
    tooSlow.abort();
  }
}

/**
 * The text of an error (`E`) or fatal error (`F`), and of any line that is not a log entry, such as the complaint about
 * an unknown flag.
 */
function severeText(line: string): string | undefined {
  try {
    const entry: unknown = JSON.parse(line);
    if (typeof entry !== "object" || entry === null || !("s" in entry && "msg" in entry)) return line;
    if (entry.s !== "E" && entry.s !== "F") return undefined;
    return `${String(entry.msg)} ${"attr" in entry ? JSON.stringify(entry.attr) : ""}`.trim();
  } catch {
    return line.trim() || undefined;
  }
}
