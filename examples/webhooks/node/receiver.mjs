/**
 * Receives the webhooks of a sink: verifies each request, stores each event once, answers, and processes it afterwards.
 *
 *     npm install standardwebhooks
 *     WEBHOOK_SECRET=whsec_… PORT=8090 INBOX=inbox.jsonl node receiver.mjs
 */
import { open, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const { WEBHOOK_SECRET = "", PORT = "8090", INBOX = "inbox.jsonl" } = process.env;

/** The largest document of MongoDB has 16 MiB, and is longer as JSON. */
const MAX_BYTES = 64 * 1_048_576;

const webhook = new Webhook(WEBHOOK_SECRET);

// The inbox holds every event that was accepted. In production this is a table of your database, with a unique index on
// `id`: the event and its id are then stored in one transaction, and old ids can be deleted.
const inbox = await open(INBOX, "a+");
const known = new Set((await readFile(INBOX, "utf8")).split("\n").map(idOf));

/** A line that a crash has cut off was never answered, so the service sends it again. */
function idOf(line) {
  try {
    return JSON.parse(line).id;
  } catch {
    return undefined;
  }
}

/** Requests are stored one after another, so that two with the same event do not overtake each other. */
let last = Promise.resolve();

/** Stores the events that are new. They survive a crash once this has returned. */
async function store(events) {
  const fresh = events.filter(({ id }) => !known.has(id));
  if (fresh.length > 0) {
    await inbox.appendFile(fresh.map((event) => `\n${JSON.stringify(event)}`).join(""));
    await inbox.datasync();
    for (const { id } of fresh) known.add(id);
  }
  return fresh;
}

/** Your own work. It runs after the answer, so the service does not wait for it. */
function processEvent({ id, type, subject }) {
  console.log(JSON.stringify({ type: "processed", id, event: type, subject }));
}

async function readBody(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Returns the status of the answer. */
async function receive(request) {
  if (request.method !== "POST") return 405;
  const body = await readBody(request);
  if (body === undefined) return 413;
  let content;
  try {
    // Throws if the signature is wrong or the request is older than five minutes.
    content = webhook.verify(body, request.headers);
  } catch {
    return 401;
  }
  // A sink with `batch` sends a list of events.
  const storing = last.then(() => store([content].flat()));
  last = storing.catch(() => {});
  const fresh = await storing;
  setImmediate(() => fresh.forEach(processEvent));
  return 204;
}

const server = createServer((request, response) => {
  receive(request).then(
    (status) => response.writeHead(status).end(),
    (error) => {
      console.error(error);
      // The service sends the event again.
      response.writeHead(503).end();
    },
  );
});
server.listen(Number(PORT), "127.0.0.1", () => {
  console.log(JSON.stringify({ type: "listening", port: server.address().port }));
});
