/** How a subscription starts, and what it brings: for every transport. */
import { expect } from "vitest";
import { brief, briefly, type Note, type Reader, type Scenario, type World } from "../scenario.ts";

const insert = ({ notes, me }: World, _id: string, more: Partial<Note> = {}) =>
  notes.insertOne({ ...more, _id: `${me}/${_id}`, owner: me });
const doc = ({ me }: World, _id: string, more: object = {}) => ({ ...more, _id: `${me}/${_id}`, owner: me });
const mine = (world: World, more: object = {}) => ({ sub: world.me, ...more });

/** Everything after the answer. */
const after = (reader: Reader) => briefly(reader.received.slice(1));

export const STARTS: readonly Scenario[] = [
  {
    name: "[3.3] starts with a complete snapshot where no cursor was given, then brings changes",
    async run(world) {
      await insert(world, "1");
      const reader = await world.follow(mine(world), { collection: "notes" });
      expect(brief(reader.answer)).toEqual(["subscribed", "snapshot"]);
      await insert(world, "2");
      await reader.settle();
      expect(after(reader)).toEqual([
        ["snapshot", [doc(world, "1")]],
        ["added", "insert", doc(world, "2")],
      ]);
      expect(reader.received.find(({ type }) => type === "snapshot")).toMatchObject({ last: true });
    },
  },
  {
    name: "[3.3] starts live without a snapshot: no earlier document arrives",
    async run(world) {
      await insert(world, "before");
      await world.settled();
      const reader = await world.follow(mine(world), { collection: "notes", snapshot: false });
      expect(brief(reader.answer)).toEqual(["subscribed", "live"]);
      await insert(world, "after");
      await world.notes.updateOne({ _id: `${world.me}/before` }, { $set: { n: 1 } });
      await world.notes.deleteOne({ _id: `${world.me}/before` });
      await reader.settle();
      expect(after(reader)).toEqual([
        ["added", "insert", doc(world, "after")],
        ["changed", "update", doc(world, "before", { n: 1 })],
        ["removed", "delete", `${world.me}/before`],
      ]);
    },
  },
  {
    name: "[3.3] resumes at a cursor: sends each missed change once, and nothing that the cursor covers",
    async run(world) {
      const first = await world.follow(mine(world), { collection: "notes" });
      await insert(world, "1");
      await first.settle();
      const { place } = first;
      await first.leave();
      await insert(world, "2");
      await world.notes.updateOne({ _id: `${world.me}/1` }, { $set: { n: 1 } });
      const second = await world.follow(mine(world), { collection: "notes", ...place });
      expect(brief(second.answer)).toEqual(["subscribed", "resumed"]);
      await world.notes.deleteOne({ _id: `${world.me}/2` });
      await second.settle();
      expect(after(second)).toEqual([
        ["added", "insert", doc(world, "2")],
        ["changed", "update", doc(world, "1", { n: 1 })],
        ["removed", "delete", `${world.me}/2`],
      ]);
    },
  },
  {
    name: "[3.3] resumes at any cursor that was seen, with the ticket of the beginning",
    async run(world) {
      const first = await world.follow(mine(world), { collection: "notes" });
      for (const _id of ["1", "2", "3", "4"]) await insert(world, _id);
      await first.settle();
      const { ticket } = first.place;
      const cursors = first.received.filter(({ type }) => type === "added").map((m) => m["cursor"]);
      expect(new Set(cursors).size).toBe(4);
      for (const [index, cursor] of cursors.entries()) {
        const again = await world.follow(mine(world), {
          collection: "notes",
          cursor: String(cursor),
          ticket,
        });
        await again.settle();
        expect(again.received.map(({ type }) => type)).toEqual([
          "subscribed",
          ...cursors.slice(index + 1).map(() => "added"),
        ]);
      }
    },
  },
  {
    name: "[3.3] resumes with the ticket of a resumption as well",
    async run(world) {
      const first = await world.follow(mine(world), { collection: "notes" });
      await first.settle();
      const second = await world.follow(mine(world), { collection: "notes", ...first.place });
      await insert(world, "1");
      await second.settle();
      // Before the next is written: the second one goes on, and so does its place.
      const { place } = second;
      await insert(world, "2");
      const third = await world.follow(mine(world), { collection: "notes", ...place });
      await third.settle();
      expect(briefly(third.received)).toEqual([
        ["subscribed", "resumed"],
        ["added", "insert", doc(world, "2")],
      ]);
    },
  },
  {
    name: "[3.3] with snapshot: false a reset is followed by no snapshot, only by changes",
    async run(world) {
      await insert(world, "before");
      await world.settled();
      const reader = await world.follow(mine(world), {
        collection: "notes",
        snapshot: false,
        cursor: "invented",
      });
      expect(brief(reader.answer)).toEqual(["subscribed", "reset", "cursor-invalid"]);
      await insert(world, "after");
      await reader.settle();
      expect(after(reader)).toEqual([["added", "insert", doc(world, "after")]]);
    },
  },
  {
    name: "[3.2] removes a document that leaves the result, adds one that enters it, and sends nothing about others",
    async run(world) {
      await insert(world, "in", { n: 10 });
      await insert(world, "out", { n: 1 });
      const reader = await world.follow(mine(world), { collection: "notes", filter: { n: { $gt: 5 } } });
      await world.notes.updateOne({ _id: `${world.me}/in` }, { $set: { n: 0 } });
      await world.notes.updateOne({ _id: `${world.me}/in` }, { $set: { n: 2 } });
      await world.notes.replaceOne({ _id: `${world.me}/out` }, { owner: world.me, n: 7 });
      await world.notes.deleteOne({ _id: `${world.me}/in` });
      await world.notes.deleteOne({ _id: `${world.me}/out` });
      await reader.settle();
      expect(after(reader)).toEqual([
        ["snapshot", [doc(world, "in", { n: 10 })]],
        ["removed", "update", `${world.me}/in`],
        ["added", "replace", doc(world, "out", { n: 7 })],
        ["removed", "delete", `${world.me}/out`],
      ]);
    },
  },
  {
    name: "[3.1] fields restricts the visible fields; a change outside of them sends nothing, and _id is always sent",
    async run(world) {
      await insert(world, "1", { title: "a", n: 1 });
      const reader = await world.follow(mine(world), { collection: "notes", fields: ["title"] });
      await world.notes.updateOne({ _id: `${world.me}/1` }, { $set: { n: 2 } });
      await world.notes.updateOne({ _id: `${world.me}/1` }, { $set: { title: "b" } });
      await reader.settle();
      expect(after(reader)).toEqual([
        ["snapshot", [{ _id: `${world.me}/1`, title: "a" }]],
        ["changed", "update", { _id: `${world.me}/1`, title: "b" }],
      ]);
    },
  },
  {
    name: "[3.2] the changes of a transaction arrive together, and no client resumes inside it",
    async run(world) {
      const { client } = world.service;
      const first = await world.follow(mine(world), { collection: "notes" });
      await insert(world, "0");
      await client.withSession((session) =>
        session.withTransaction(async () => {
          for (const _id of ["1", "2", "3"]) {
            await world.notes.insertOne({ _id: `${world.me}/${_id}`, owner: world.me }, { session });
          }
        }),
      );
      await first.settle();
      const added = first.received.filter(({ type }) => type === "added");
      expect(added.map((message) => (message["doc"] as Note)._id)).toEqual(
        ["0", "1", "2", "3"].map((_id) => `${world.me}/${_id}`),
      );
      const { ticket } = first.place;
      const counts: number[] = [];
      for (const { cursor } of added as unknown as { cursor: string }[]) {
        const again = await world.follow(mine(world), { collection: "notes", cursor, ticket });
        await again.settle();
        counts.push(again.received.filter(({ type }) => type === "added").length);
      }
      // From inside the transaction all of it comes again: a client that applies it twice is where it was.
      expect(counts).toEqual([3, 3, 3, 0]);
    },
  },
  {
    name: "[2] writes values as JSON, or losslessly where the client asks for ejson",
    async run(world) {
      const at = new Date(0);
      await insert(world, "1", { at, n: 1.5 });
      const json = await world.follow(mine(world), { collection: "notes" });
      const ejson = await world.follow(mine(world), { collection: "notes" }, { values: "ejson" });
      await Promise.all([json.settle(), ejson.settle()]);
      expect(after(json)).toEqual([["snapshot", [doc(world, "1", { at: at.toISOString(), n: 1.5 })]]]);
      expect(after(ejson)).toEqual([
        ["snapshot", [doc(world, "1", { at: { $date: "1970-01-01T00:00:00Z" }, n: 1.5 })]],
      ]);
    },
  },
  {
    name: "[2] reads a filter as Extended JSON",
    async run(world) {
      await insert(world, "old", { at: new Date(1_000) });
      await insert(world, "new", { at: new Date(5_000) });
      const filter = { at: { $gt: { $date: "1970-01-01T00:00:02Z" } } };
      const reader = await world.follow(mine(world), { collection: "notes", filter, fields: ["owner"] });
      await reader.settle();
      expect(after(reader)).toEqual([["snapshot", [doc(world, "new")]]]);
    },
  },
  {
    name: "[3.2] a snapshot comes in batches of one cursor, the last one marked, and the changes after it",
    async run(world) {
      const pad = "x".repeat(1_000);
      const all = Array.from({ length: 700 }, (_, i) => ({
        _id: `${world.me}/${i}`,
        owner: world.me,
        pad,
      }));
      await world.notes.insertMany(all);
      const reader = await world.follow(mine(world), { collection: "notes" });
      await insert(world, "late");
      await reader.settle();
      const snapshots = reader.received.filter(({ type }) => type === "snapshot");
      expect(reader.received.filter(({ type }) => type === "reset")).toEqual([]);
      expect(snapshots.length).toBeGreaterThan(2);
      // Over gRPC only the last one has the cursor, because a client cannot resume from half a snapshot.
      const cursors = snapshots.map((message) => message["cursor"]).filter((cursor) => cursor !== undefined);
      expect(new Set(cursors).size).toBe(1);
      expect(snapshots.at(-1)?.["cursor"]).toBe(cursors[0]);
      expect(snapshots.map((message) => message["last"])).toEqual(
        snapshots.map((_, index) => index === snapshots.length - 1),
      );
      expect(snapshots.flatMap((message) => message["docs"] as unknown[])).toHaveLength(700);
      expect(reader.received.at(-1)).toMatchObject({ type: "added" });
    },
  },
];
