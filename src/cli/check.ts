import { parseArgs } from "node:util";
import { type Config, ConfigError, formatProblem, loadConfigWithWarnings } from "../config/config.ts";
import { configJsonSchema } from "../config/json-schema.ts";
import type { CollectionOptions, RuleOptions } from "../rules/options.ts";
import type { Io } from "../terminal/io.ts";
import { CONFIG_FLAG, type Command } from "./command.ts";
import { tryConnection } from "./try-connection.ts";

const HELP = `Usage: tidewire check [options]

Validates a whole configuration, including its rules and key files, and reports every problem at once:
file, line, column, the value found, and the values allowed. Warns of conditions that are valid and can
hardly be meant. Opens no connection, unless --connect asks for it.

Options:
  -c, --config FILE   the configuration (default config/tidewire.yaml)
      --json          print the problems as a JSON array, for machines; warnings have "severity": "warning"
      --connect       also connect to mongodb.uri: report which host cannot be used and why, missing privileges, and every
                      other problem that a node would report at its start. Changes nothing, and ends within a minute
      --schema        print the JSON Schema of configurations instead, for editors

Examples:
  tidewire check
  tidewire check --config deploy/tidewire.yaml && tidewire start --config deploy/tidewire.yaml
  tidewire check --connect
  tidewire check --schema > config/tidewire.schema.json`;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...CONFIG_FLAG,
      json: { type: "boolean" },
      connect: { type: "boolean" },
      schema: { type: "boolean" },
    },
  });
  if (values.schema) {
    io.out(JSON.stringify(configJsonSchema(), null, 2));
    return 0;
  }
  try {
    const { config, warnings } = await loadConfigWithWarnings(values.config, io.env);
    const connected = values.connect ? await tryConnection(config) : null;
    if (values.json) {
      io.out(
        JSON.stringify(
          warnings.map((warning) => ({ severity: "warning", ...warning })),
          null,
          2,
        ),
      );
      return 0;
    }
    for (const warning of warnings) io.err(`warning: ${formatProblem(warning)}`);
    io.out(configSummary(values.config, config));
    if (connected !== null) {
      for (const warning of connected.warnings) io.err(`warning: ${warning}`);
      io.out(connected.text);
    }
    return 0;
  } catch (error) {
    if (!values.json || !(error instanceof ConfigError)) throw error;
    io.out(JSON.stringify(error.problems, null, 2));
    return 1;
  }
}

/** The collections of a valid configuration, and who has access to each. */
export function configSummary(file: string, config: Config): string {
  const lines = Object.entries(config.collections).map(([name, collection]) => {
    const { database = config.mongodb.database, collection: stored = name } = collection as CollectionOptions;
    const rules = collection.rules.map(ruleText).join(", then ");
    return `  ${name} (${database}.${stored}): ${rules || "nobody has access (rules: [])"}`;
  });
  return [`ok: ${file}`, ...lines].join("\n");
}

function ruleText({ name, when, anonymous, filter, allow }: RuleOptions): string {
  const parts = [
    when === undefined
      ? anonymous
        ? "everybody"
        : "any user"
      : anonymous
        ? "conditional, anonymous too"
        : "conditional",
    ...(filter === undefined ? ["all documents"] : []),
    ...(allow.documents === false ? ["counts and groups only"] : []),
    ...(allow.aggregate === false ? ["no counts and groups"] : []),
    ...(allow.requireIndex ? ["index required"] : []),
  ];
  return `${name} [${parts.join(", ")}]`;
}

/** `tidewire check`: whether a configuration can be started. */
export const check: Command = { help: HELP, run };
