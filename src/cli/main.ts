#!/usr/bin/env node
import { runCli } from "./run-cli.ts";

// `tidewire tail … | head` is a way to end it, not an error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

process.exitCode = await runCli(process.argv.slice(2), {
  out: (text) => process.stdout.write(`${text}\n`),
  err: (text) => process.stderr.write(`${text}\n`),
  env: process.env,
  now: () => Date.now(),
  terminal: process.stdout.isTTY === true,
});
