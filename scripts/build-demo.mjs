/**
 * Builds what the demo runs. It says so at once and at intervals, because the build takes several seconds on a slow machine, and
 * somebody who tries the demo for the first time takes silence for a fault.
 *   node scripts/build-demo.mjs
 */
import { spawn } from "node:child_process";

const NOTE_EVERY_MS = 2_000;

const startedAtMs = performance.now();
const seconds = () => Math.round((performance.now() - startedAtMs) / 1_000);
console.error("building Tidewire");
const notes = setInterval(() => console.error(`-- building Tidewire (${seconds()} s)`), NOTE_EVERY_MS);
const build = spawn("npm", ["run", "--silent", "prepack"], {
  stdio: "inherit",
  shell: process.platform === "win32", // npm is a script there
});
build.once("error", (error) => {
  clearInterval(notes);
  console.error(`npm cannot be run: ${error.message}`);
  process.exitCode = 1;
});
build.once("close", (code, signal) => {
  clearInterval(notes);
  if (signal !== null) process.kill(process.pid, signal);
  process.exitCode = code ?? 1;
});
