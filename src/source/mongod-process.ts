/** One mongod process: started, watched, ended. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

/** Recovery after a kill replays the journal, which takes a while on a slow disk. */
const LAUNCH_LIMIT_MS = 120_000;
/** How long a shutdown may take to write what is in memory. */
const STOP_LIMIT_MS = 30_000;
/** The log of a mongod that gives up fits in a few lines; the first names the cause. */
const KEPT_COMPLAINTS = 5;

/** Ends mongod within 2 s of our own end, should we be killed before we could. It is the library's. */
const KILLER = createRequire(import.meta.url).resolve("mongodb-memory-server-core/scripts/mongo_killer.js");

/** A mongod that was started. */
export interface MongodProcess {
  readonly pid: number;
  /** Settles when the process has ended, for whatever reason. */
  readonly ended: Promise<string>;
  /** Ends it cleanly, by force if that takes too long. */
  stop(): Promise<void>;
}

/** mongod ended, or did not come up in time; the message holds its own words. */
export class LaunchError extends Error {
  override readonly name = "LaunchError";
}

/**
 * Answers once it accepts connections.
 * @throws {LaunchError}
 */
export async function launchMongod(binary: string, args: readonly string[]): Promise<MongodProcess> {
  // A process group of its own: Ctrl-C in a terminal would otherwise end mongod before the service drained.
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

/** mongod logs a JSON object a line. Its lines are read to the end: a pipe that fills up would stop it. */
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
      // Its last words may come after the news of its end: "close" waits for both pipes.
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

/** The text of an error (`E`) or fatal error (`F`), and of anything that is not a log line, such as a wrong flag. */
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
