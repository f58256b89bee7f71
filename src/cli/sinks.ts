/** `tidewire sinks`: sinks of a running node, by its admin listener. */
import { parseArgs } from "node:util";
import { z } from "zod";
import { PAGE_MAX } from "../admin/api/audit-endpoint.ts";
import { formatSize } from "../config/units.ts";
import { parseUntrusted } from "../protocol/parse-untrusted.ts";
import type { Io } from "../terminal/io.ts";
import { type AdminNode, adminTokenOf, adminUrl, askNode, unexpected } from "./ask-node.ts";
import { type Command, UsageError } from "./command.ts";

const HELP = `Usage: tidewire sinks list
       tidewire sinks pause SINK
       tidewire sinks resume SINK
       tidewire sinks parked SINK [--json]
       tidewire sinks replay SINK [--id ID]

Shows the sinks of a running node and acts on them, by its admin listener. All acts hold on every node and over restarts.

  list    the state of each sink: running, paused, disabled, or in trouble; what waits and what is parked
  pause   sends nothing to the target; changes wait in the state database
  resume  lets a paused sink go on, or one that its target has disabled (410)
  parked  the messages that the target has refused until the last attempt
  replay  sends parked messages again, after everything that waits

Options:
      --id ID      only this parked message; may be given several times
      --json       each parked message as a line of JSON, with its event if the token has the role documents
      --admin URL  the admin listener of a node (default http://127.0.0.1:8481)

The token is read from TIDEWIRE_ADMIN_TOKEN: with the role view for list and parked, act for the rest.

Exit code 1: there is no such sink, or the node does not answer.

Examples:
  tidewire sinks list
  tidewire sinks parked late-orders
  tidewire sinks replay late-orders --id AAAAAGV4Y2hhbmdl.oLk3`;

const OPTIONS = {
  admin: { type: "string", default: "http://127.0.0.1:8481" },
  id: { type: "string", multiple: true },
  json: { type: "boolean", default: false },
} as const;

const Listed = z.object({
  sinks: z.array(
    z.object({
      name: z.string(),
      collection: z.string(),
      target: z.string(),
      state: z.string(),
      node: z.string().nullable(),
      trouble: z.string().nullable(),
      delivered: z.number(),
      spooledMessages: z.number(),
      spooledBytes: z.number(),
      parked: z.number(),
      resets: z.number(),
      lastReset: z.object({ at: z.string(), reason: z.string() }).nullable(),
      oldestAt: z.string().nullable(),
    }),
  ),
});

const Parked = z.object({
  messages: z.array(
    z.object({
      id: z.string(),
      reason: z.string(),
      attempts: z.number(),
      parkedAt: z.string(),
      event: z.unknown(),
    }),
  ),
  next: z.string().nullable(),
});

const Replayed = z.object({ messages: z.number() });

const ACTS = ["list", "pause", "resume", "parked", "replay"] as const;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  const act = ACTS.find((known) => known === positionals[0]);
  if (act === undefined) throw new UsageError(`name what to do: ${ACTS.join(", ")}`);
  const [, name, ...others] = positionals;
  if (others.length > 0 || (act === "list" && name !== undefined))
    throw new UsageError(`${act} takes ${act === "list" ? "no name" : "the name of one sink"}`);
  if (values.id !== undefined && act !== "replay") throw new UsageError(`${act} goes without --id`);
  if (values.json && act !== "parked") throw new UsageError(`${act} goes without --json`);
  const node = { url: adminUrl(values.admin), token: adminTokenOf(io, "") };
  if (act === "list") return list(node, io);
  if (name === undefined)
    throw new UsageError(`${act} needs the name of a sink; tidewire sinks list shows them`);
  const path = `/sinks/${encodeURIComponent(name)}/${act}`;
  if (act === "parked") return parked(node, path, values.json, io);
  if (act === "replay") return replay(node, path, values.id ?? null, io);
  return control(node, path, `the sink ${name} is ${act === "pause" ? "paused" : "resumed"}`, io);
}

async function list(node: AdminNode, io: Io): Promise<number> {
  const answer = await askNode(node, "GET", "/sinks");
  const listed = parseUntrusted(Listed, answer.body);
  if (answer.status !== 200 || !listed.success) throw unexpected(node, answer);
  for (const sink of listed.data.sinks) {
    io.out(`${sink.name}: ${sink.state}, ${sink.collection} to ${sink.target}`);
    if (sink.trouble !== null) io.out(`  trouble: ${sink.trouble}`);
    io.out(`  node: ${sink.node ?? "none yet"}`);
    const oldest = sink.oldestAt === null ? "" : `, the oldest since ${sink.oldestAt}`;
    io.out(
      `  delivered ${sink.delivered}, waiting ${sink.spooledMessages} (${formatSize(sink.spooledBytes)})${oldest}, parked ${sink.parked}`,
    );
    if (sink.lastReset !== null)
      io.out(`  resets: ${sink.resets}, the last at ${sink.lastReset.at} (${sink.lastReset.reason})`);
  }
  if (listed.data.sinks.length === 0) io.out("the configuration of the node has no sinks");
  return 0;
}

/** Said of an act without an answer. */
const UNCONFIRMED =
  "the act is not confirmed, and may have taken effect: look at tidewire sinks list, and repeat the command, which does no harm";

async function control(node: AdminNode, path: string, done: string, io: Io): Promise<number> {
  const answer = await askNode(node, "POST", path, { json: {} }, UNCONFIRMED);
  if (isRefusal(answer.body["code"])) return refused(answer.body, io);
  if (answer.status !== 200) throw unexpected(node, answer);
  io.out(done);
  return 0;
}

async function replay(node: AdminNode, path: string, ids: readonly string[] | null, io: Io): Promise<number> {
  const answer = await askNode(node, "POST", path, { json: { ids } }, UNCONFIRMED);
  if (isRefusal(answer.body["code"])) return refused(answer.body, io);
  const replayed = parseUntrusted(Replayed, answer.body);
  if (answer.status !== 200 || !replayed.success) throw unexpected(node, answer);
  const { messages } = replayed.data;
  if (messages === 0) io.err("no such message is parked; tidewire sinks parked shows them");
  else io.out(`${messages} parked ${messages === 1 ? "message is" : "messages are"} sent again`);
  return messages === 0 ? 1 : 0;
}

async function parked(node: AdminNode, path: string, asJson: boolean, io: Io): Promise<number> {
  let after: string | null = null;
  do {
    const page = new URLSearchParams({ limit: String(PAGE_MAX), ...(after === null ? {} : { after }) });
    const answer = await askNode(node, "GET", `${path}?${page}`);
    if (isRefusal(answer.body["code"])) return refused(answer.body, io);
    const found = parseUntrusted(Parked, answer.body);
    if (answer.status !== 200 || !found.success) throw unexpected(node, answer);
    const { messages, next } = found.data;
    for (const { id, reason, attempts, parkedAt, event } of messages)
      io.out(
        asJson
          ? JSON.stringify({ id, reason, attempts, parkedAt, event })
          : `${id}: parked at ${parkedAt} after ${attempts} attempts: ${reason}`,
      );
    if (after === null && messages.length === 0 && !asJson) io.out("nothing is parked");
    after = next;
  } while (after !== null);
  return 0;
}

const isRefusal = (code: unknown) => code === "no-sink" || code === "sink-not-started";

function refused(body: Readonly<Record<string, unknown>>, io: Io): number {
  io.err(String(body["error"]));
  return 1;
}

/** `tidewire sinks`: shows sinks, and acts on them. */
export const sinks: Command = { help: HELP, run };
