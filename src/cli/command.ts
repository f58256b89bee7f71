import type { Io } from "../terminal/io.ts";

/** A command line that is not understood: exit code 2, and where to read on. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** One command; its module is loaded only when it is asked for. */
export interface Command {
  /** Usage, options, examples. */
  readonly help: string;
  /** @returns The exit code: 0 for success, 1 if problems were found. */
  run(args: readonly string[], io: Io): Promise<number>;
}

/** Where the configuration is looked for, from the working directory. */
export const DEFAULT_CONFIG = "config/tidewire.yaml";

/** The flag that most commands share. */
export const CONFIG_FLAG = { config: { type: "string", short: "c", default: DEFAULT_CONFIG } } as const;

/** Reads a JSON object given on the command line.
 * @throws {UsageError}
 */
export function objectFlag(name: string, text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new UsageError(`--${name} is not JSON; put it in single quotes: --${name} '{"sub":"u1"}'`, {
      cause,
    });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new UsageError(`--${name} takes a JSON object: --${name} '{"sub":"u1"}'`);
  }
  // The condition has checked that it is an object.
  return value as Record<string, unknown>;
}
