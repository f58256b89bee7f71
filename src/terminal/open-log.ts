import { type Logger, type LoggerOptions, pino } from "pino";
import type { Io } from "./io.ts";
import { JoinedLines } from "./joined-lines.ts";
import { readableLog } from "./log-line.ts";
import { loggedError } from "./logged-error.ts";

/** The log of a process: JSON lines on standard output, or readable lines if that is a terminal. */
export function openLog(
  options: LoggerOptions,
  { terminal, out, env }: Pick<Io, "terminal" | "out" | "env">,
): Logger {
  const withErrors = { ...options, serializers: { err: loggedError } };
  if (terminal) return pino(withErrors, readableLog(out, !env["NO_COLOR"]));
  const output = pino.destination(1);
  return pino(withErrors, new JoinedLines((text) => output.write(text)));
}
