import { parseArgs } from "node:util";
import { loadConfig } from "../config/config.ts";
import { loadRules } from "../config/load-rules.ts";
import type { QueryRequest } from "../rules/authorize.ts";
import { compileRules } from "../rules/compile-rules.ts";
import { explainAuthorization } from "../rules/explain-authorization.ts";
import type { Subject } from "../rules/grant.ts";
import { readDocument } from "../rules/read-document.ts";
import type { Io } from "../terminal/io.ts";
import { CONFIG_FLAG, type Command, objectFlag, UsageError } from "./command.ts";
import { explanationJson, explanationText, unknownCollection } from "./explain-text.ts";
import { snapshotIndex } from "./snapshot-index.ts";

const HELP = `Usage: tidewire explain --collection NAME [--user JSON | --sub SUB] [options]

Prints which rule applies to a user and why the earlier ones do not, the resulting access, whether a given
document is visible and which predicate decides, and whether an index serves the snapshot. Reads the rules of the
configuration and needs none of its secrets, except to ask MongoDB about the index.

Options:
      --collection NAME  the name that clients use
      --user JSON        the claims of the user's token; without it, an anonymous user
      --sub SUB          short for --user '{"sub":"SUB"}'
      --filter JSON      the client's own filter
      --fields A,B       the client's own fields
      --aggregate JSON   the client asks for counts and groups: {"by":PATH,"values":{NAME:{"sum":PATH}}}
      --document JSON    a document (Extended JSON): is it visible?
      --json             print JSON, for machines
  -c, --config FILE      the configuration (default config/tidewire.yaml)

Examples:
  tidewire explain --sub u1 --collection orders
  tidewire explain --user '{"sub":"u1"}' --collection orders --document '{"_id":1,"customerId":"u2"}'
  tidewire explain --user '{"sub":"u9","roles":["admin"]}' --collection orders --filter '{"status":"open"}'`;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...CONFIG_FLAG,
      user: { type: "string" },
      sub: { type: "string" },
      collection: { type: "string" },
      filter: { type: "string" },
      fields: { type: "string" },
      aggregate: { type: "string" },
      document: { type: "string" },
      json: { type: "boolean" },
    },
  });
  if (values.collection === undefined)
    throw new UsageError("--collection is needed: the name that clients use");
  const subject = subjectOf(values);
  const request: QueryRequest = {
    collection: values.collection,
    ...(values.filter === undefined ? {} : { filter: objectFlag("filter", values.filter) }),
    ...(values.fields === undefined ? {} : { fields: values.fields.split(",") }),
    ...(values.aggregate === undefined ? {} : { aggregate: objectFlag("aggregate", values.aggregate) }),
  };
  const document = values.document === undefined ? undefined : documentFlag(values.document);
  const { source } = await loadRules(values.config, io.env);
  const names = Object.keys(source.collections);
  if (!names.includes(values.collection)) {
    io.err(`tidewire explain: ${unknownCollection(values.collection, names)}`);
    return 1;
  }
  const explanation = explainAuthorization(compileRules(source), subject, request, io.now(), document);
  const index =
    explanation.query === null
      ? null
      : await snapshotIndex(() => loadConfig(values.config, io.env), explanation.query);
  io.out(
    values.json
      ? JSON.stringify(explanationJson(explanation, index), null, 2)
      : explanationText(explanation, subject, index),
  );
  return 0;
}

/** `null` for an anonymous user. */
function subjectOf({ user, sub }: { user?: string; sub?: string }): Subject | null {
  if (user !== undefined && sub !== undefined) throw new UsageError("give --user or --sub, not both");
  if (sub !== undefined) return { claims: { sub } };
  return user === undefined ? null : { claims: objectFlag("user", user) };
}

function documentFlag(text: string): Uint8Array {
  const value = objectFlag("document", text);
  const document = readDocument(value);
  if (document !== undefined) return document;
  throw new UsageError('--document is not Extended JSON, such as \'{"_id":{"$oid":"…"}}\'');
}

/** `tidewire explain`: what a user may see of a collection, and why. */
export const explain: Command = { help: HELP, run };
