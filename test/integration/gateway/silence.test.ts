/** A write that touches only what a subscriber does not see sends nothing, whatever it follows and however it came. */
import type { Collection, MongoClient } from "mongodb";
import { expect, test } from "vitest";
import { startTestService } from "../../support/service.ts";
import type { Received, WsClient } from "../../support/ws-client.ts";

interface Note {
  _id: number;
  room: string;
  n: number;
  title: string;
  secret?: unknown;
  inner?: unknown;
}

const FIELDS = { exclude: ["secret", "inner.hidden"] };
const COLLECTIONS = {
  notes: { rules: [{ name: "all", filter: { room: "a" }, fields: FIELDS }] },
  // This filter names the field that the other rule hides, so a write to that field alone may move a document.
  open: {
    collection: "notes",
    rules: [{ name: "open", filter: { secret: { $ne: "locked" } }, fields: FIELDS }],
  },
  mine: {
    collection: "notes",
    lookups: { rooms: { collection: "members", filter: { user: "%%user.sub" }, value: "room" } },
    rules: [{ name: "member", filter: { room: { $in: "%%lookup.rooms" } }, fields: FIELDS }],
  },
};

/** Everything that a client can follow, by the name of the mode. */
const SUBSCRIPTIONS: Record<string, Record<string, unknown>> = {
  full: { collection: "notes" },
  delta: { collection: "notes", documents: "delta" },
  "fields of the client": { collection: "notes", fields: ["title", "room"] },
  "fields of the client, as deltas": { collection: "notes", fields: ["title"], documents: "delta" },
  "changes only": { collection: "notes", filter: { n: { $gte: 0 } }, snapshot: false },
  sorted: { collection: "notes", sort: [["n", 1]] },
  window: { collection: "notes", sort: [["n", -1]], limit: 2 },
  "window, as deltas": { collection: "notes", sort: [["n", 1]], limit: 3, documents: "delta" },
  "window by a path that is not asked for": {
    collection: "notes",
    fields: ["title"],
    sort: [["n", 1]],
    limit: 2,
  },
  "a filter on a hidden field": { collection: "open" },
  lookup: { collection: "mine" },
  "lookup, window": { collection: "mine", sort: [["n", 1]], limit: 2 },
};

const INNER = { inner: [{ hidden: 1, shown: 1 }, { hidden: 2 }, 5] };

function note(_id: number): Note {
  return { _id, room: "a", n: _id * 10, title: `note ${_id}`, secret: _id, ...INNER };
}

/** Writes to what nobody here sees, in every way that there is. */
async function writeUnseen(notes: Collection<Note>, client: MongoClient): Promise<void> {
  await notes.updateOne({ _id: 1 }, { $set: { secret: "other" } });
  await notes.updateOne({ _id: 2 }, { $set: { "inner.0.hidden": 7 } });
  await notes.updateOne({ _id: 3 }, { $unset: { secret: "" } });
  const { _id, ...rest } = note(2);
  await notes.replaceOne({ _id }, {
    ...rest,
    secret: { replaced: true },
    inner: [{ shown: 1, hidden: [] }, {}, 5],
  } as never);
  await notes.findOneAndUpdate({ _id: 3 }, [{ $set: { secret: { $add: ["$n", 1] } } }]);
  await notes.bulkWrite(
    [1, 2, 3, 4].map((id) => ({ updateOne: { filter: { _id: id }, update: { $set: { secret: id } } } })),
  );
  await client.withSession((session) =>
    session.withTransaction(async () => {
      await notes.updateOne({ _id: 1 }, { $set: { secret: "in a transaction" } }, { session });
      await notes.updateOne({ _id: 4 }, { $set: { secret: "there, too" } }, { session });
    }),
  );
  // Of another room, which nobody here follows.
  await notes.insertOne({ ...note(90), room: "z", secret: "locked" });
  await notes.updateOne({ _id: 90 }, { $set: { title: "unseen" } });
  await notes.deleteOne({ _id: 90 });
}

async function start(images: "auto" | "off", history: string) {
  const started = await startTestService({
    collections: COLLECTIONS,
    mongodb: { images },
    history: { window: history },
    limits: { subscriptions: 100 },
  });
  const notes = started.db.collection<Note>("notes");
  // Two rooms, so that the lookup has a live query of its own.
  await started.db.collection("members").insertMany(["a", "b"].map((room) => ({ user: "u1", room })));
  await notes.insertMany([1, 2, 3, 4].map(note));
  return { ...started, notes };
}

/** Subscribes to everything, or resumes it; settles when it has all arrived. */
async function followAll(
  client: WsClient,
  now: () => Promise<{ t: number; i: number }>,
  places = new Map<string, object>(),
) {
  const answers = new Map<string, Received>();
  for (const [id, request] of Object.entries(SUBSCRIPTIONS)) {
    answers.set(id, await client.ask({ type: "subscribe", id, ...request, ...places.get(id) }));
  }
  await client.fence(await now());
  return answers;
}

/** The messages for each subscription from number `from` on. Messages of one live query arrive once. */
function changesSince(client: WsClient, from: number, answers: ReadonlyMap<string, Received>) {
  const names = new Map([...answers].map(([id, answer]) => [answer["query"], id]));
  return client.received
    .slice(from)
    .filter(({ type }) => type !== "fenced" && type !== "watermark" && type !== "subscribed")
    .map((message) => [
      names.get(message["query"]) ?? message["query"],
      message.type,
      JSON.stringify(message),
    ]);
}

test.each(["auto", "off"] as const)(
  "nothing is sent for writes to unseen documents, in any mode, with images %s",
  async (images) => {
    const { client: mongo, connect, notes, now } = await start(images, "0s");
    const client = await connect({ sub: "u1" });
    const answers = await followAll(client, now);
    expect(new Set([...answers.values()].map((answer) => answer["query"])).size).toBe(answers.size);
    const from = client.received.length;
    await writeUnseen(notes, mongo);
    await client.fence(await now());
    expect(changesSince(client, from, answers)).toEqual([]);
    // And what is seen comes, to everyone who sees it.
    await notes.updateMany({ _id: { $lte: 4 } }, { $set: { title: "seen" } });
    await client.fence(await now());
    const told = new Set(changesSince(client, from, answers).map(([name]) => name));
    expect([...told].sort()).toEqual(Object.keys(SUBSCRIPTIONS).sort());
  },
);

test.each([
  ["the history", "auto", "5m"],
  ["the oplog", "auto", "0s"],
  ["the history", "off", "5m"],
  ["the oplog", "off", "0s"],
] as const)(
  "a client that comes back receives nothing about unseen documents, out of %s, with images %s",
  async (_where, images, history) => {
    const { client: mongo, connect, notes, now } = await start(images, history);
    const first = await connect({ sub: "u1" });
    const before = await followAll(first, now);
    const places = new Map([...before].map(([id, { cursor, ticket }]) => [id, { cursor, ticket }] as const));
    first.socket.terminate();
    await writeUnseen(notes, mongo);
    const second = await connect({ sub: "u1" });
    const answers = await followAll(second, now, places);
    // A window older than the history, and rights that may have changed since, are read again, which is not a change.
    const resumed = [...answers].filter(([, { start: how }]) => how === "resumed").map(([id]) => id);
    expect(resumed).toEqual(
      expect.arrayContaining(["full", "delta", "fields of the client", "changes only"]),
    );
    const changes = changesSince(second, 0, answers).filter(([name]) => resumed.includes(String(name)));
    expect(changes).toEqual([]);
  },
);
