/** Writes documents, and remembers when each write was acknowledged. */
import { setTimeout as sleep } from "node:timers/promises";
import { documentsOf } from "./lib/documents.mjs";
import { MongoClient } from "./lib/product.mjs";
import { clockMs, options, serve } from "./lib/serve.mjs";

const client = new MongoClient(options.uri, { writeConcern: { w: options.w ?? "majority" } });
const db = client.db(options.database);

let nextNumber = 1;
let prepared = [];
let acknowledged = [];

/** Parse Server learns of a change only where it is written through it. */
async function insertThroughParse(document) {
  const response = await fetch(`${options.parseUrl}/classes/Doc`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-parse-application-id": "bench" },
    body: JSON.stringify(document),
  });
  if (!response.ok) throw new Error(`Parse Server answered ${response.status}: ${await response.text()}`);
}

/** Each document's number goes into the one that its room has from the first time on. */
function update(documents) {
  const operations = documents.map(({ room, ...$set }) => ({
    updateOne: { filter: { _id: room }, update: { $set, $setOnInsert: { room } }, upsert: true },
  }));
  return db.collection(options.collection).bulkWrite(operations);
}

async function write(documents) {
  if (options.parseUrl !== undefined) await Promise.all(documents.map(insertThroughParse));
  else if (options.updates) await update(documents);
  else await db.collection(options.collection).insertMany(documents, { ordered: true });
  const at = clockMs();
  for (const { n } of documents) acknowledged.push(n, at);
}

serve({
  async ready() {
    await client.connect();
    // How long mongod lets writes wait for the journal if no write asks for it.
    const journalCommitInterval = options.journalMs ?? 100;
    await client.db("admin").command({ setParameter: 1, journalCommitInterval });
  },

  /** Makes documents for `burst` or `pace`. @returns How many deliveries each burst of `size` will make. */
  prepare({ kind, count, of, size }) {
    prepared = documentsOf(kind, count, of, nextNumber);
    nextNumber += count;
    acknowledged = [];
    const deliveries = [];
    for (let at = 0; at < count; at += size)
      deliveries.push(prepared.slice(at, at + size).reduce((sum, { matches }) => sum + matches, 0));
    return deliveries;
  },

  /** Writes the next `size` of them at once. */
  burst({ size }) {
    return write(prepared.splice(0, size).map(({ document }) => document));
  },

  /** Writes all of them, so many a second, one by one. */
  async pace({ perSecond }) {
    const start = clockMs();
    const writes = [];
    for (const [i, { document }] of prepared.splice(0).entries()) {
      const wait = start + (i * 1_000) / perSecond - clockMs();
      if (wait > 0) await sleep(wait);
      writes.push(write([document]));
    }
    await Promise.all(writes);
  },

  /** Numbers and times, in turn. */
  acknowledged: () => Float64Array.from(acknowledged),
});
