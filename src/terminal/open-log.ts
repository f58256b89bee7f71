import { type Logger, type LoggerOptions, pino } from "pino";
import type { Io } from "./io.ts";
import { readableLog } from "./log-line.ts";

/** The log of a process: JSON lines on standard output, or readable lines if that is a terminal. */
export function openLog(
  options: LoggerOptions,
  { terminal, out, env }: Pick<Io, "terminal" | "out" | "env">,
): Logger {
  return terminal ? pino(options, readableLog(out, !env["NO_COLOR"])) : pino(options);
}
