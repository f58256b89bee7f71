import { UsageError } from "./command.ts";

/** Reads a port given on the command line.
 * @throws {UsageError}
 */
export function portFlag(name: string, text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new UsageError(`--${name} takes a number from 0 to 65535`);
  return port;
}
