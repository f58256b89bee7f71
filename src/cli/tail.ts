import { parseArgs } from "node:util";
import { VALUE_MODES, type ValueMode } from "../protocol/messages.ts";
import { FollowedQuery, type FollowOptions } from "../terminal/followed-query.ts";
import type { Io } from "../terminal/io.ts";
import { type Command, objectFlag, UsageError } from "./command.ts";
import { DEFAULT_SERVICE_URL, serviceUrl, withoutPath } from "./service-url.ts";
import { endText, stateText, type TailText, TailWriter } from "./tail-text.ts";

const HELP = `Usage: tidewire tail --collection NAME [options]

Subscribes from the terminal and prints the result: documents of the snapshot (=), then documents that are added (+),
changed (~) or removed (-). After a disconnection it reconnects and resumes. It reports its own status on standard
error, so that the output can be piped.

Options:
      --collection NAME  the name in the configuration
      --url URL          the service (default ws://127.0.0.1:8480)
      --token TOKEN      your token (default $TIDEWIRE_TOKEN; without one, anonymous)
      --filter JSON      a Mongo filter, combined with the rule's filter by AND
      --fields A,B       only these fields
      --aggregate JSON   counts and groups in place of documents: {"by":PATH,"values":{NAME:{"sum":PATH}}}
      --values MODE      encoding of values: json (default) or ejson (MongoDB Extended JSON, lossless)
      --no-snapshot      only changes from now on
      --json             print every message of the service unchanged, one per line

Examples:
  tidewire tail --collection orders --token "$(tidewire token --sub u1)"
  tidewire tail --collection orders --filter '{"status":"open"}' --fields status,total
  tidewire tail --collection orders --aggregate '{"by":"status"}'
  tidewire tail --url wss://live.example.com --collection orders --json | jq .type

Ctrl-C stops it. Exit code 1: the service refused the subscription, or ended it permanently.`;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      url: { type: "string", default: DEFAULT_SERVICE_URL },
      token: { type: "string" },
      collection: { type: "string" },
      filter: { type: "string" },
      fields: { type: "string" },
      aggregate: { type: "string" },
      values: { type: "string" },
      "no-snapshot": { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  if (values.collection === undefined)
    throw new UsageError("--collection is needed: the name that the configuration gives it");
  const url = serviceUrl(values.url);
  const token = values.token ?? io.env["TIDEWIRE_TOKEN"];
  const mode = values.values === undefined ? undefined : valuesFlag(values.values);
  const request: FollowOptions["request"] = {
    collection: values.collection,
    ...(values.filter === undefined ? {} : { filter: objectFlag("filter", values.filter) }),
    ...(values.fields === undefined ? {} : { fields: values.fields.split(",") }),
    ...(values.aggregate === undefined ? {} : { aggregate: objectFlag("aggregate", values.aggregate) }),
    ...(values["no-snapshot"] ? { snapshot: false } : {}),
  };

  const colour = io.terminal === true && !io.env["NO_COLOR"];
  const writer = new TailWriter(colour);
  const note = (text: string) => io.err(`-- ${text}`);
  const say = ({ out, note: text }: TailText) => {
    for (const line of out ?? []) io.out(line);
    if (text !== undefined) note(text);
  };
  const follower = new FollowedQuery({
    url: withoutPath(url),
    token: async () => token,
    // There is only one token. When it expires, the user has to get another one.
    hasNewTokens: false,
    request,
    ...(mode === undefined ? {} : { values: mode }),
    onMessage: (message) => (values.json ? io.out(JSON.stringify(message)) : say(writer.message(message))),
    onState: (state) => note(stateText(state, url)),
  });
  const stop = () => follower.stop();
  io.signal?.addEventListener("abort", stop);
  process.once("SIGINT", stop).once("SIGTERM", stop);
  const end = await follower.ended;
  process.off("SIGINT", stop).off("SIGTERM", stop);
  const text = endText(end);
  if (text === undefined) return 0;
  if (values.json && end.why === "refused") note(end.error.message);
  note(text);
  return 1;
}

function valuesFlag(text: string): ValueMode {
  const mode = VALUE_MODES.find((known) => known === text);
  if (mode === undefined) throw new UsageError(`--values takes one of ${VALUE_MODES.join(", ")}`);
  return mode;
}

/** `tidewire tail`: follows a query on the terminal. */
export const tail: Command = { help: HELP, run };
