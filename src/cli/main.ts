#!/usr/bin/env node
import { createInterface } from "node:readline/promises";
import { StartupError } from "../source/startup-error.ts";
import { withVisibleControls } from "../terminal/visible-controls.ts";
import { withEnvFile } from "./env-file.ts";
import { runCli } from "./run-cli.ts";

// With `tidewire tail … | head`, a closed pipe is an ordinary end and not an error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

async function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await lines.question(question);
  } finally {
    lines.close();
  }
}

/** The demo writes to the MongoDB of its environment: a database that `.env` names is not meant for that. */
function environment(command: string | undefined): NodeJS.ProcessEnv {
  try {
    return command === "demo" ? process.env : withEnvFile(process.cwd(), process.env);
  } catch (error) {
    if (!(error instanceof StartupError)) throw error;
    process.stderr.write(`tidewire: ${error.message}\n`);
    process.exit(1);
  }
}

const argv = process.argv.slice(2);
process.exitCode = await runCli(argv, {
  out: (text) => process.stdout.write(`${withVisibleControls(text)}\n`),
  err: (text) => process.stderr.write(`${withVisibleControls(text)}\n`),
  env: environment(argv[0]),
  now: () => Date.now(),
  terminal: process.stdout.isTTY === true,
  ...(process.stdin.isTTY ? { ask } : {}),
});
