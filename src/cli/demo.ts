import { parseArgs } from "node:util";
import { runDemo } from "../demo/demo.ts";
import type { Io } from "../terminal/io.ts";
import { type Command, UsageError } from "./command.ts";
import { portFlag } from "./port-flag.ts";

const HELP = `Usage: tidewire demo [options]

Runs a demonstration: it starts MongoDB (or uses MONGODB_URI), the service, and a backend that writes an order board
with the ordinary driver. Three users each see, live, the orders that the rules of config/demo.yaml allow them: in
the terminal, and on a page whose address it prints.

Options:
      --port PORT        port of the service (default: the system chooses one)
      --admin-port PORT  port of its metrics and health (default: the system chooses one)
      --rate N           writes per second (default 3)
      --seconds N        stop after this time, and compare the documents of each user with the result of find

Keys: q quits, k kills the service (it is restarted, and the views resume at their position).
All data is written to .tidewire/ in the working directory.

Examples:
  tidewire demo
  tidewire demo --seconds 10 | cat`;

/** However it is ended, it ends as from its own key. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** Interval at which the demo checks that its parent process still runs. */
const PARENT_POLL_MS = 500;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      port: { type: "string", default: "0" },
      "admin-port": { type: "string", default: "0" },
      rate: { type: "string", default: "3" },
      seconds: { type: "string" },
    },
  });
  const rate = positiveFlag("rate", values.rate);
  const seconds = values.seconds === undefined ? undefined : positiveFlag("seconds", values.seconds);
  const abort = new AbortController();
  const end = () => abort.abort();
  const keys = new Map<string, () => void>([
    ["q", end],
    ["\x03", end], // Ctrl-C, which is a key like any other while keys are read
  ]);
  const stopListening = [endBySignals(end), endWithParent(end), readKeys(keys)];
  io.signal?.addEventListener("abort", end);
  try {
    const equal = await runDemo(
      {
        port: portFlag("port", values.port),
        adminPort: portFlag("admin-port", values["admin-port"]),
        rate,
        forMs: seconds === undefined ? undefined : seconds * 1_000,
        terminal: io.terminal === true ? process.stdout : undefined,
        signal: abort.signal,
        onKillable: (kill) => keys.set("k", kill),
      },
      io,
    );
    return equal ? 0 : 1;
  } finally {
    for (const stop of stopListening) stop();
  }
}

function endBySignals(end: () => void): () => void {
  for (const signal of SIGNALS) process.once(signal, end);
  return () => {
    for (const signal of SIGNALS) process.off(signal, end);
  };
}

/** Signals do not always get through to the end of a chain of shells and npm. */
function endWithParent(end: () => void): () => void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid !== parent) end();
  }, PARENT_POLL_MS);
  return () => clearInterval(timer);
}

function readKeys(keys: ReadonlyMap<string, () => void>): () => void {
  const { stdin } = process;
  if (!stdin.isTTY || !process.stdout.isTTY) return () => {};
  const onData = (data: Buffer) => keys.get(data.toString())?.();
  stdin.setRawMode(true).on("data", onData);
  return () => {
    stdin.off("data", onData).setRawMode(false);
    stdin.pause();
  };
}

function positiveFlag(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new UsageError(`--${name} takes a number above 0`);
  return value;
}

/** `tidewire demo`: the demo on the embedded MongoDB. */
export const demo: Command = { help: HELP, run };
