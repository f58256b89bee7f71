import { parseArgs } from "node:util";
import { MongoClient } from "mongodb";
import { type Config, ConfigError, loadConfig } from "../config/config.ts";
import { loadRules } from "../config/load-rules.ts";
import { closest } from "../match/did-you-mean.ts";
import { encodeValue } from "../match/encode.ts";
import { createIndexLine } from "../match/index-advice.ts";
import { filterToBson, toMongo } from "../match/to-mongo.ts";
import type { EffectiveQuery, QueryRequest } from "../rules/authorize.ts";
import { compileRules } from "../rules/compile-rules.ts";
import { predicateText } from "../rules/deciding-predicate.ts";
import { describeAggregate } from "../rules/describe-aggregate.ts";
import { describeProjection } from "../rules/describe-projection.ts";
import { type Explanation, explainAuthorization } from "../rules/explain-authorization.ts";
import type { Subject } from "../rules/grant.ts";
import { readDocument } from "../rules/read-document.ts";
import { answerOf, STATE_TIMEOUT_MS } from "../source/mongo.ts";
import { EMBEDDED_URI } from "../source/options.ts";
import { clientOptions } from "../source/replaceable-client.ts";
import { planSnapshot } from "../source/snapshot-plan.ts";
import type { Io } from "../terminal/io.ts";
import { CONFIG_FLAG, type Command, objectFlag, UsageError } from "./command.ts";

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

/** Rules are often written without a running server, so this wait is short. */
const SELECTION_TIMEOUT_MS = 2_000;

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
    io.err(unknownCollection(values.collection, names));
    return 1;
  }
  const explanation = explainAuthorization(compileRules(source), subject, request, io.now(), document);
  const index = explanation.query === null ? null : await indexOf(values.config, io, explanation.query);
  io.out(values.json ? jsonOf(explanation, index) : textOf(explanation, subject, index));
  return 0;
}

/** `null` for an anonymous user. */
function subjectOf({ user, sub }: { user?: string; sub?: string }): Subject | null {
  if (user !== undefined && sub !== undefined) throw new UsageError("give --user or --sub, not both");
  if (sub !== undefined) return { claims: { sub } };
  return user === undefined ? null : { claims: objectFlag("user", user) };
}

function unknownCollection(name: string, known: readonly string[]): string {
  const near = closest(name, known);
  const guess = near === undefined ? "" : ` Did you mean ${near}?`;
  return `tidewire explain: the configuration has no collection ${JSON.stringify(name)}.${guess} Collections: ${known.join(", ")}`;
}

/** The whole configuration is needed to reach MongoDB, and only for that. */
async function indexOf(file: string, io: Io, query: EffectiveQuery): Promise<string> {
  try {
    return await indexText(await loadConfig(file, io.env), query);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return "not checked: the configuration has a problem outside of its rules (tidewire check names it)";
  }
}

function documentFlag(text: string): Uint8Array {
  const value = objectFlag("document", text);
  const document = readDocument(value);
  if (document !== undefined) return document;
  throw new UsageError('--document is not Extended JSON, such as \'{"_id":{"$oid":"…"}}\'');
}

/** Whether an index serves the snapshot, in words. */
async function indexText(
  config: Config,
  { database, collectionName: collection, filter, requireIndex }: EffectiveQuery,
): Promise<string> {
  const { uri, connectTimeoutMs } = config.mongodb;
  if (uri === EMBEDDED_URI) return "not checked: the embedded mongod runs only with the service";
  const client = new MongoClient(uri, {
    ...clientOptions(connectTimeoutMs),
    serverSelectionTimeoutMS: SELECTION_TIMEOUT_MS,
  });
  try {
    const maxTimeMs = STATE_TIMEOUT_MS;
    const query = { database, collection, filter: toMongo(filter), maxTimeMs };
    const plan = await answerOf(client, (at) => planSnapshot(at, query), { timeoutMs: STATE_TIMEOUT_MS });
    const refused = requireIndex ? ". The rule's allow.requireIndex refuses this request" : "";
    if (plan.readsEverything) {
      const line = createIndexLine(database, collection, filter);
      const advice = line === undefined ? "Index a field that the filter asks for" : `Create one: ${line}`;
      return `none: every snapshot reads the whole collection${refused}. ${advice}`;
    }
    return plan.indexes.length === 0 ? "not needed: the server reads nothing" : plan.indexes.join(", ");
  } catch (error) {
    // The rules can be explained without a server. Only this line is missing then.
    return `not checked: ${error instanceof Error ? error.name : "MongoDB gave no answer"}`;
  } finally {
    await client.close();
  }
}

function textOf(explanation: Explanation, subject: Subject | null, index: string | null): string {
  const { collection, outcome, reason, rules, query, document } = explanation;
  const who = subject === null ? "an anonymous user" : `the user ${JSON.stringify(subject.claims)}`;
  const lines = [`${outcome === "allowed" ? "allowed" : `refused (${outcome})`}: ${who} on ${collection}`];
  if (reason !== null) lines.push(`  because ${reason}`);
  if (rules.length > 0) lines.push("rules:");
  for (const { name, applies, because } of rules) lines.push(`  ${applies ? "→" : " "} ${name}: ${because}`);
  if (query !== null) {
    const shown =
      query.aggregate === null
        ? `fields: ${describeProjection(query.projection)}`
        : `rows: ${describeAggregate(query.aggregate)}, and no documents`;
    lines.push(`filter: ${predicateText(query.filter)}`, shown);
    if (!query.snapshotAllowed) lines.push("snapshot: not allowed, only changes");
  }
  if (index !== null) lines.push(`index for the snapshot: ${index}`);
  if (document !== null) {
    const counts = query?.aggregate == null ? ["visible", "hidden"] : ["counted", "not counted"];
    lines.push(`document: ${document.visible ? counts[0] : counts[1]}, as ${document.because}`);
    if (document.shown !== null) lines.push(`  seen as ${document.shown}`);
  }
  return lines.join("\n");
}

function jsonOf({ query, ...explanation }: Explanation, index: string | null): string {
  const effective =
    query === null
      ? null
      : {
          rule: query.rule,
          namespace: `${query.database}.${query.collectionName}`,
          filter: JSON.parse(encodeValue(filterToBson(query.filter), "ejson")),
          fields: describeProjection(query.projection),
          aggregate: query.aggregate,
          snapshotAllowed: query.snapshotAllowed,
          key: query.key,
        };
  return JSON.stringify({ ...explanation, query: effective, index }, null, 2);
}

/** `tidewire explain`: what a user may see of a collection, and why. */
export const explain: Command = { help: HELP, run };
