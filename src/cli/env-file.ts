import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { StartupError } from "../source/startup-error.ts";

/** Variables for a configuration in a file next to the program, as Compose and most frameworks read them. */
export const ENV_FILE = ".env";

/**
 * The environment with the variables of `.env` in a folder. A variable that is set already prevails, so that a
 * container or a shell overrides the file.
 * @throws {StartupError} The file exists and cannot be read: without it another secret could be in force.
 */
export function withEnvFile(folder: string, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const file = join(folder, ENV_FILE);
  try {
    return { ...parseEnv(readFileSync(file, "utf8")), ...env };
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown error";
    if (code === "ENOENT" || code === "EISDIR") return env;
    throw new StartupError(`${file} cannot be read (${code}). Check its rights, or remove it`, [], { cause });
  }
}

/** One line of such a file. A quote is chosen that the value does not contain. */
export function envLine(name: string, value: string): string {
  if (/^[\w:/@.,+-]*$/.test(value)) return `${name}=${value}`;
  const quote = ["'", '"', "`"].find((mark) => !value.includes(mark)) ?? "'";
  return `${name}=${quote}${value}${quote}`;
}

/** The lines of an existing file with other values for some variables; variables that it lacks are appended.
 * @param keep Variables whose existing value prevails.
 */
export function mergeEnv(
  existing: string,
  values: Readonly<Record<string, string>>,
  keep: readonly string[],
): string {
  const known = parseEnv(existing);
  let lines = existing.replace(/\n*$/, "").split("\n");
  for (const [name, value] of Object.entries(values)) {
    if (known[name] && keep.includes(name)) continue;
    const isOwn = (line: string) => new RegExp(`^\\s*(?:export\\s+)?${name}\\s*=`).test(line);
    if (known[name] === undefined) lines.push(envLine(name, value));
    else lines = lines.map((line) => (isOwn(line) ? envLine(name, value) : line));
  }
  return `${lines.join("\n")}\n`;
}
