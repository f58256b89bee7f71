/** Processes of the benchmark: started, asked, measured and ended by the one that runs it. */
import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const running = new Set();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/**
 * CPU time of a process so far, user and system, all its threads, in milliseconds. `/proc/PID/stat` reports it in
 * hundredths of a second, the scheduler's own count of each thread is exact.
 */
export function cpuMs(pid) {
  let ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) ns += threadNs(pid, thread);
  return ns / 1e6;
}

function threadNs(pid, thread) {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
    return 0; // It has ended since the list was read; Node's threads that do the work stay.
  }
}

/** As `cpuMs`, for a process whose threads come and go; to 10 ms. */
export function cpuMsWithEnded(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name, in parentheses, may hold anything; what follows it begins with field 3.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Resident memory, in KiB. */
export function rssKiB(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

/** A process of ours that answers calls (`serve`). */
export class Worker {
  #child;
  #waiting = new Map();
  #nextId = 1;

  static async fork(file, options = {}, { args = [], env = {}, node = process.execPath } = {}) {
    const worker = new Worker();
    worker.#child = fork(fileURLToPath(new URL(`../${file}`, import.meta.url)), [JSON.stringify(options)], {
      serialization: "advanced",
      execPath: node,
      execArgv: args,
      env: { ...process.env, ...env },
      // Some leave logs where they are started.
      cwd: tmpdir(),
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    running.add(worker.#child);
    worker.#child.on("message", ({ id, result, error }) => {
      const { resolve, reject } = worker.#waiting.get(id);
      worker.#waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(`${file}: ${error}`));
    });
    worker.#child.once("exit", (code, signal) => {
      running.delete(worker.#child);
      for (const { reject } of worker.#waiting.values())
        reject(new Error(`${file} ended: ${signal ?? code}`));
      worker.#waiting.clear();
    });
    worker.ready = await worker.call("ready");
    return worker;
  }

  get pid() {
    return this.#child.pid;
  }

  call(name, argument) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, name, argument });
    });
  }

  /** Makes the process do what `COLLECTABLE` or `profiled` has prepared. */
  signal() {
    this.#child.kill("SIGUSR2");
  }

  stop() {
    return end(this.#child);
  }
}

const load = (name) => ["--import", new URL(name, import.meta.url).href];

/** Arguments of a process that collects garbage on demand, so that memory can be compared. */
/**
 * The young generation has its full size from the start: where it grows between two measurements, by up to 16 MiB, that
 * would count as memory of the clients that came in between.
 */
const FULL_YOUNG = "--min-semi-space-size=16";
export const COLLECTABLE = {
  args: ["--expose-gc", FULL_YOUNG, ...load("./collect-on-signal.mjs")],
};

/** How a process is started whose heap is to be written, to files that begin with this path. */
export const heapWritten = (path) => ({ args: load("./heap-on-signal.mjs"), env: { BENCH_HEAP: path } });

/** How a process is started whose CPU profile is to be saved. */
export const profiled = (file) => ({ args: load("./profile-on-signal.mjs"), env: { BENCH_PROFILE: file } });

/** A process that is asked nothing; ready when a line of its output says so (`find` returns what is to be known). */
export async function startProgram(program, find, { args = [], env = {}, node = process.execPath } = {}) {
  const child = spawn(node, [...args, ...program], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  running.add(child);
  child.once("exit", () => running.delete(child));
  const lines = [];
  const ready = await new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`ended with ${code}:\n${lines.slice(-20).join("\n")}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (lines.push(line) > 200) lines.shift();
      const found = find(line);
      if (found !== undefined) resolve(found);
    });
  });
  return {
    ready,
    pid: child.pid,
    lines,
    signal: () => child.kill("SIGUSR2"),
    stop: () => end(child),
  };
}

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}
