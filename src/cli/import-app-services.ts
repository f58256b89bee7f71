import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { type ImportOptions, ImportRefused, importApp } from "../app-services/import-app.ts";
import type { ImportProblem } from "../app-services/problems.ts";
import type { Io } from "../terminal/io.ts";
import { type Command, UsageError } from "./command.ts";

const HELP = `Usage: tidewire import-app-services DIR [options]

Converts an exported app of Atlas App Services to a configuration: roles and filters (rules.json, default_rule.json)
become rules. Names every part that it cannot convert; such a part grants no access. Opens no connection.

Options:
  -o, --out FILE           the configuration to write, a new file (default: standard output)
      --data-source NAME   the cluster, if the app has several
      --environment NAME   the value of %%environment
      --claim PATH=CLAIM   a path of the user object, and the claim that replaces it; may be repeated.
                           id=sub is known; any other path is a claim of the same name
      --allow-id           show _id even if a role hides it: here it is always visible
      --json               print the problems as a JSON array instead, for machines; needs --out

Exit code: 0 everything was converted, 1 a part was not.

Examples:
  tidewire import-app-services ./my-app --out config/tidewire.yaml
  tidewire import-app-services ./my-app --claim custom_data=app --environment production > tidewire.yaml`;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      out: { type: "string", short: "o" },
      "data-source": { type: "string" },
      environment: { type: "string" },
      claim: { type: "string", multiple: true, default: [] },
      "allow-id": { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  const [directory, ...more] = positionals;
  if (directory === undefined || more.length > 0)
    throw new UsageError("one folder is needed: that of the app");
  if (values.json && values.out === undefined)
    throw new UsageError("--json needs --out for the configuration");
  const { config, problems, claims } = await read(directory, {
    ...(values["data-source"] === undefined ? {} : { dataSource: values["data-source"] }),
    ...(values.environment === undefined ? {} : { environment: values.environment }),
    claims: new Map(values.claim.map(readClaim)),
    allowId: values["allow-id"],
  });
  if (config !== undefined && values.out === undefined) io.out(config.trimEnd());
  else if (config !== undefined && values.out !== undefined) await writeNew(values.out, config);
  if (values.json) io.out(JSON.stringify(problems, null, 2));
  else for (const line of summary(problems, claims, config !== undefined)) io.err(line);
  return problems.length === 0 && config !== undefined ? 0 : 1;
}

/** A file that exists is not overwritten, because it may contain manual edits. */
async function writeNew(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { flag: "wx" });
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause)) throw cause;
    const why = cause.code === "EEXIST" ? "is there already" : `cannot be written (${String(cause.code)})`;
    throw new UsageError(`${file} ${why}; name another one with --out`, { cause });
  }
}

async function read(directory: string, options: ImportOptions) {
  try {
    return await importApp(directory, options);
  } catch (error) {
    if (error instanceof ImportRefused) throw new UsageError(error.message, { cause: error });
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) {
      throw new UsageError(`there is no folder ${directory}`, { cause: error });
    }
    throw error;
  }
}

function readClaim(text: string): [string, string] {
  const [, path, claim] = /^(?:%%user\.)?([^=]+)=(.+)$/.exec(text) ?? [];
  if (path === undefined || claim === undefined) {
    throw new UsageError("--claim takes PATH=CLAIM, such as --claim custom_data.team=team");
  }
  return [path, claim];
}

function summary(
  problems: readonly ImportProblem[],
  claims: readonly string[],
  hasConfig: boolean,
): string[] {
  const told = problems.map(({ file, at, message }) =>
    [file, at, message].filter((part) => part !== "").join(": "),
  );
  if (!hasConfig) return [...told, "Nothing is left that anybody may read: no configuration was made."];
  return [
    ...told,
    `Tokens need the claims: ${claims.join(", ") || "none"}`,
    "Rights to write are not converted: writes stay with your backend.",
  ];
}

/** `tidewire import-app-services`: converts the roles of an App Services app to rules. */
export const importAppServices: Command = { help: HELP, run };
