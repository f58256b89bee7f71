/**
 * Measures the turns of the event loop of the process that loads this file with `--import`, in processor time of its main
 * thread: on a busy machine the wall clock mostly shows how long the thread had to wait for a core. On SIGUSR2 the longest
 * turn since the last signal is written to standard error. Needs Linux.
 */
import { openSync, readSync } from "node:fs";

/** The interval between two measurements, in milliseconds. A result exceeds the turn itself by at most this. */
const EVERY_MS = 5;

const schedstat = openSync("/proc/thread-self/schedstat", "r");
const bytes = Buffer.alloc(64);

/** Processor time of this thread so far, in milliseconds. */
function processorMs() {
  const length = readSync(schedstat, bytes, 0, bytes.length, 0);
  return Number(bytes.toString("latin1", 0, length).split(" ")[0]) / 1e6;
}

let fromMs = processorMs();
let longestMs = 0;
setInterval(() => {
  const nowMs = processorMs();
  longestMs = Math.max(longestMs, nowMs - fromMs);
  fromMs = nowMs;
}, EVERY_MS).unref();

process.on("SIGUSR2", () => {
  process.stderr.write(`longest turn: ${longestMs.toFixed(1)} ms\n`);
  longestMs = 0;
});
