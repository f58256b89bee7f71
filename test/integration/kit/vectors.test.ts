/**
 * The vectors of the kit against the server and a real service: a vector that either of them contradicts is red.
 * `TIDEWIRE_RECORD=1` writes their answers into the files. A new vector needs its input alone before that.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BSON, type Db, type Document } from "mongodb";
import { expect, test } from "vitest";
import { KIT } from "../../support/kit.ts";
import { startTestService } from "../../support/service.ts";
import type { Received, WsClient } from "../../support/ws-client.ts";

const { EJSON } = BSON;
const RECORDS = process.env["TIDEWIRE_RECORD"] === "1";
/** Numbers keep their types. */
const EXACT = { relaxed: false } as const;
const RAW = { promoteValues: false, bsonRegExp: true } as const;
const COLLECTIONS = { things: { rules: [{ name: "all", when: { "%%user.sub": { $exists: true } } }] } };

type Case = Record<string, unknown>;
type Vectors = Record<string, readonly Case[]>;
type Connect = (values?: "json" | "ejson") => Promise<WsClient>;

/** Compares the cases of a file, or writes them. */
async function compare(
  file: string,
  list: string,
  answer: (one: Case, all: Vectors) => Promise<Case>,
): Promise<void> {
  const path = join(KIT, "vectors", `${file}.json`);
  const recorded: Vectors = JSON.parse(await readFile(path, "utf8"));
  const answered: Case[] = [];
  for (const one of recorded[list] ?? []) answered.push({ ...one, ...(await answer(one, recorded)) });
  expect(answered.length).toBeGreaterThan(2);
  if (RECORDS) await writeFile(path, textOf({ ...recorded, [list]: answered }));
  // As texts, because the order of fields is a part of the answer.
  else expect(textOf({ [list]: answered })).toBe(textOf({ [list]: recorded[list] ?? [] }));
}

/** One case on each line. */
const textOf = (vectors: Vectors) =>
  `{\n${Object.entries(vectors)
    .map(
      ([name, list]) => `  "${name}": [\n${list.map((one) => `    ${JSON.stringify(one)}`).join(",\n")}\n  ]`,
    )
    .join(",\n")}\n}\n`;

let db: Db;
let connect: Connect;

async function start(): Promise<void> {
  const service = await startTestService({ collections: COLLECTIONS });
  db = service.db;
  connect = (values = "json") => service.connect({ sub: "u1" }, { values });
}

/** Waits until everything that was written has arrived. */
async function arrived(client: WsClient): Promise<void> {
  const { operationTime } = await db.command({ ping: 1 });
  await client.fence(operationTime);
}

/** The messages of a fresh subscription up to now. */
async function follow(client: WsClient, id: string, request: object): Promise<readonly Received[]> {
  const from = client.received.length;
  const answer = await client.ask({ type: "subscribe", id, collection: "things", ...request });
  if (answer.type !== "error") await arrived(client);
  return client.received.slice(from).filter(({ type }) => type !== "watermark" && type !== "fenced");
}

/** As `follow`, and ends the subscription: an equal one would be `shared`, without a snapshot. */
async function once(client: WsClient, id: string, request: object): Promise<readonly Received[]> {
  const messages = await follow(client, id, request);
  if (messages[0]?.type !== "error") await client.ask({ type: "unsubscribe", id });
  return messages;
}

const docsOf = (messages: readonly Received[]) =>
  messages.flatMap((message) => (message["docs"] as Document[] | undefined) ?? []);
const read = (value: unknown) => EJSON.deserialize({ value } as Document, EXACT)["value"];

test("values: every type in the forms json and ejson, as the server stores it", async () => {
  await start();
  const [json, ejson] = [await connect("json"), await connect("ejson")];
  const things = db.collection<Document & { _id: number }>("things");
  let _id = 0;
  await compare("values", "values", async ({ bson }) => {
    await things.insertOne({ _id: ++_id, value: read(bson) });
    const [stored] = await things.find({ _id }, RAW).toArray();
    const [typed] = await things
      .aggregate([{ $match: { _id } }, { $project: { type: { $type: "$value" } } }])
      .toArray();
    const request = { filter: { _id } };
    const [asJson] = docsOf(await once(json, String(_id), request));
    const [asEjson] = docsOf(await once(ejson, String(_id), request));
    return {
      bson: EJSON.serialize(stored ?? {}, EXACT)["value"],
      type: typed?.["type"],
      json: asJson?.["value"],
      ejson: asEjson?.["value"],
    };
  });
});

/** Inserts the documents of a file, which are in canonical Extended JSON. */
async function insertAll(documents: readonly Case[] = []): Promise<void> {
  if ((await db.collection("things").countDocuments()) > 0) return;
  await db.collection("things").insertMany(documents.map((one) => read(one)));
}

test("filters: the documents that match, or the refusal", async () => {
  await start();
  const client = await connect("ejson");
  let id = 0;
  await compare("filters", "cases", async ({ filter }, { documents }) => {
    await insertAll(documents);
    const messages = await once(client, `f${++id}`, { filter });
    if (messages[0]?.type === "error") return { error: messages[0]["code"] };
    const ids = docsOf(messages).map(({ _id }) => _id);
    const found = await db
      .collection("things")
      .find(read(filter), { projection: { _id: 1 } })
      .toArray();
    expect(new Set(ids), JSON.stringify(filter)).toEqual(
      new Set(found.map((one) => EJSON.serialize(one)["_id"])),
    );
    return { ids: ids.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) };
  });
});

test("sorts: the order of values of all types", async () => {
  await start();
  const client = await connect();
  let id = 0;
  await compare("sorts", "cases", async ({ sort }, { documents }) => {
    await insertAll(documents);
    const ids = docsOf(await once(client, `s${++id}`, { sort })).map(({ _id }) => _id);
    const paths = (sort as [string, 1 | -1][]).filter(([path]) => path !== "_id");
    const byId = (sort as [string, 1 | -1][]).find(([path]) => path === "_id") ?? (["_id", 1] as const);
    const found = await db
      .collection("things")
      .find()
      .sort([...paths, [...byId]])
      .toArray();
    expect(ids).toEqual(found.map(({ _id }) => _id));
    return { ids };
  });
});

/** The part of a change that a client applies. */
function change(message: Received): Case {
  const { query: _query, cursor: _cursor, cause: _cause, ...rest } = message;
  return rest;
}

test("deltas: the difference, and the document that it leads to", async () => {
  await start();
  const [delta, full] = [await connect(), await connect()];
  await delta.ask({ type: "subscribe", id: "d", collection: "things", documents: "delta" });
  await full.ask({ type: "subscribe", id: "f", collection: "things" });
  const things = db.collection("things");
  await compare("deltas", "cases", async ({ before, update }) => {
    await things.deleteMany({});
    await things.insertOne(read(before));
    await Promise.all([arrived(delta), arrived(full)]);
    const from = [delta.received.length, full.received.length] as const;
    await db.command({ update: "things", updates: [{ q: {}, u: update }] });
    await Promise.all([arrived(delta), arrived(full)]);
    const changed = (client: WsClient, at: number) =>
      client.received.slice(at).find(({ type }) => type === "changed") as Received; // the update changes the document
    const after = changed(full, from[1])["doc"];
    const [found] = await things.find().toArray();
    expect(JSON.stringify(after)).toBe(JSON.stringify(found));
    return { message: change(changed(delta, from[0])), after };
  });
});

test("windows: the messages of a sorted result, and the order after each write", async () => {
  await start();
  await compare("windows", "cases", async ({ request, documents, steps, name }) => {
    const { sort, limit } = request as { sort: [string, 1 | -1][]; limit?: number };
    await db.collection("things").deleteMany({});
    await db.collection("things").insertMany(read(documents));
    const client = await connect();
    const snapshot = docsOf(await follow(client, "w", request as object));
    const answered: Case[] = [];
    for (const { write } of steps as { write: Document }[]) {
      const from = client.received.length;
      await db.command(read(write));
      await arrived(client);
      const messages = client.received
        .slice(from)
        .filter(({ type }) => type !== "watermark" && type !== "fenced");
      const found = await db
        .collection("things")
        .find()
        .sort([...sort, ["_id", 1]])
        .limit(limit ?? 0)
        .toArray();
      answered.push({ write, messages: messages.map(change), ids: found.map(({ _id }) => _id) });
    }
    await client.close();
    return { name, request, documents, snapshot, steps: answered };
  });
});
