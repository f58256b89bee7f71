/** Counts and groups: what each transport delivers of them, and what it never tells. */
import { expect } from "vitest";
import { brief, briefly, held, type Note, type Scenario, type World } from "../scenario.ts";

const insert = ({ notes, me }: World, _id: string, more: Partial<Note> = {}) =>
  notes.insertOne({ ...more, _id: `${me}/${_id}`, owner: me });
const mine = (world: World) => ({ sub: world.me });
/**
 * Messages without their causes. Where the history does not reach back, as between two polls, the rows of then and of
 * now are compared: no cause is known.
 */
const contents = (messages: Parameters<typeof briefly>[0]) =>
  briefly(messages).map(([type, ...rest]) => (rest.length === 2 ? [type, rest[1]] : [type, ...rest]));
const BY_TITLE = { by: "title", values: { notes: { count: true }, total: { sum: "n" } } } as const;

export const AGGREGATES: readonly Scenario[] = [
  {
    name: "[3.4] delivers rows in place of documents, and follows them through writes and transactions",
    async run(world) {
      await insert(world, "1", { title: "a", n: 2 });
      await insert(world, "2", { title: "a", n: 3 });
      await insert(world, "3", { title: "b", n: 1 });
      const reader = await world.follow(mine(world), { collection: "notes", aggregate: BY_TITLE });
      await reader.until(({ type }) => type === "snapshot");
      await world.notes.updateOne({ _id: `${world.me}/3` }, { $set: { title: "c" } });
      await reader.until(({ type }) => type === "added");
      await world.notes.deleteOne({ _id: `${world.me}/1` });
      await reader.settle();
      expect(new Set(held(reader.received.slice(0, 2)))).toEqual(
        new Set([
          { _id: "a", notes: 2, total: 5 },
          { _id: "b", notes: 1, total: 1 },
        ]),
      );
      expect(contents(reader.received.slice(2))).toEqual([
        ["removed", "b"],
        ["added", { _id: "c", notes: 1, total: 1 }],
        ["changed", { _id: "a", notes: 1, total: 3 }],
      ]);
    },
  },
  {
    name: "[3.4] without by there is one row, also of no documents",
    async run(world) {
      const aggregate = {
        values: { n: { count: true }, s: { sum: "n" }, a: { avg: "n" }, m: { max: "n" } },
      } as const;
      const reader = await world.follow(mine(world), { collection: "notes", aggregate });
      await reader.until(({ type }) => type === "snapshot");
      expect(held(reader.received)).toEqual([{ _id: null, n: 0, s: 0, a: null, m: null }]);
      await insert(world, "1", { n: 3 });
      await reader.until(({ type }) => type === "changed");
      await world.notes.deleteMany({ owner: world.me });
      await reader.settle();
      expect(contents(reader.received.slice(2))).toEqual([
        ["changed", { _id: null, n: 1, s: 3, a: 3, m: 3 }],
        ["changed", { _id: null, n: 0, s: 0, a: null, m: null }],
      ]);
    },
  },
  {
    name: "[3.4] sends nothing of a write that changes no row, to another's document or to fields that no value is made of",
    async run(world) {
      await insert(world, "1", { title: "a", n: 2 });
      const other = `${world.me}-other`;
      const reader = await world.follow(mine(world), { collection: "notes", aggregate: BY_TITLE });
      await world.notes.insertOne({ _id: `${other}/1`, owner: other, title: "a", n: 5 });
      await world.notes.updateOne({ _id: `${world.me}/1` }, { $set: { secret: "x", text: "y" } });
      await world.notes.deleteOne({ _id: `${other}/1` });
      await reader.settle();
      expect(reader.received.slice(2)).toEqual([]);
    },
  },
  {
    name: "[3.4] a resumption brings only the rows that differ, each once",
    async run(world) {
      for (const title of ["a", "b", "c"]) await insert(world, title, { title, n: 1 });
      const request = { collection: "notes", aggregate: BY_TITLE };
      const reader = await world.follow(mine(world), request);
      await reader.settle();
      const { place } = reader;
      await reader.leave();
      for (const n of [2, 3, 4]) await world.notes.updateOne({ _id: `${world.me}/a` }, { $set: { n } });
      await world.notes.deleteOne({ _id: `${world.me}/c` });
      await world.settled();
      const back = await world.follow(mine(world), { ...request, ...place });
      await back.settle();
      const [answer, ...changes] = back.received;
      expect(brief(answer!)).toEqual(["subscribed", "resumed"]);
      expect(new Set(contents(changes))).toEqual(
        new Set([
          ["changed", { _id: "a", notes: 1, total: 4 }],
          ["removed", "c"],
        ]),
      );
    },
  },
  {
    name: "[3.4] a number has one spelling in an _id, whichever type came first",
    async run(world) {
      await insert(world, "1", { n: 1 });
      await world.notes.updateOne({ _id: `${world.me}/1` }, [{ $set: { n: { $toDecimal: "1.00" } } }]);
      const request = { collection: "notes", aggregate: { by: "n" } };
      const reader = await world.follow(mine(world), request);
      await insert(world, "2", { n: 1 });
      await reader.settle();
      expect(held(reader.received)).toEqual([{ _id: 1, count: 2 }]);
    },
  },
  {
    name: "[4] refuses a hidden field in by and in every value, and its parents",
    async run(world) {
      await insert(world, "1", { secret: "s", inner: { hidden: 1, shown: 2 } });
      for (const aggregate of [
        { by: "secret" },
        { by: ["title", "inner.hidden"] },
        { by: "inner" },
        { values: { s: { sum: "secret" } } },
        { values: { s: { avg: "inner.hidden" } } },
        { values: { s: { min: "inner" } } },
        { values: { s: { max: "inner.0.hidden" } } },
      ] as const) {
        const reader = await world.follow(mine(world), { collection: "notes", aggregate });
        expect(brief(reader.answer), JSON.stringify(aggregate)).toEqual(["error", "forbidden"]);
        expect(reader.answer["details"]).toMatchObject({ part: "aggregate" });
        await reader.leave();
      }
    },
  },
  {
    name: "[4] a rule with documents: false gives rows, and neither documents nor their _ids by any way",
    async run(world) {
      await insert(world, "1", { title: "a", n: 1 });
      const follow = async (request: object) => {
        const reader = await world.follow(mine(world), { collection: "counts", ...request });
        if (reader.answer.type !== "error") await reader.settle();
        await reader.leave();
        return briefly(reader.received);
      };
      expect(await follow({})).toEqual([["error", "forbidden"]]);
      expect(await follow({ snapshot: false })).toEqual([["error", "forbidden"]]);
      const refused = [
        { by: "_id" },
        { by: ["title", "_id"] },
        { values: { m: { min: "_id" } } },
        { values: { m: { max: "_id.x" } } },
        { values: { m: { sum: "_id" } } },
      ];
      for (const aggregate of refused) expect(await follow({ aggregate })).toEqual([["error", "forbidden"]]);
      const filters = [{ _id: "x" }, { $or: [{ n: 1 }, { _id: { $gt: "" } }] }, { "_id.x": 1 }];
      for (const filter of filters)
        expect(await follow({ filter, aggregate: {} })).toEqual([["error", "forbidden"]]);
      expect(await follow({ aggregate: BY_TITLE })).toEqual([
        ["subscribed", "snapshot"],
        ["snapshot", [{ _id: "a", notes: 1, total: 1 }]],
      ]);
    },
  },
  {
    name: "[4] a rule with aggregate: false refuses counts and groups",
    async run(world) {
      const reader = await world.follow(mine(world), { collection: "plain", aggregate: {} });
      expect(brief(reader.answer)).toEqual(["error", "forbidden"]);
      expect(reader.answer["details"]).toMatchObject({ part: "aggregate" });
    },
  },
  {
    name: "[3.4] refuses what does not go with an aggregate, and what is none",
    async run(world) {
      for (const request of [
        { aggregate: {}, sort: [["n", 1]] as const },
        { aggregate: {}, fields: ["n"] },
        { aggregate: { by: [] } },
        { aggregate: { by: ["a", "a"] } },
        { aggregate: { by: ["a", "a.b"] } },
        { aggregate: { by: ["a", "b", "c", "d", "e"] } },
        { aggregate: { by: "$a" } },
        { aggregate: { by: 5 } },
        { aggregate: { values: {} } },
        { aggregate: { values: { _id: { count: true } } } },
        { aggregate: { values: { "a.b": { count: true } } } },
        { aggregate: { values: { a: { count: false } } } },
        { aggregate: { values: { a: { sum: "n", avg: "n" } } } },
        { aggregate: { values: { a: { median: "n" } } } },
        { aggregate: { what: 1 } },
      ]) {
        const reader = await world.follow(mine(world), { collection: "notes", ...request } as never); // none is well-formed
        expect(brief(reader.answer), JSON.stringify(request)).toEqual(["error", "bad-request"]);
        await reader.leave();
      }
    },
  },
  {
    name: "[3.4] with snapshot: false sends only the rows that change",
    async run(world) {
      await insert(world, "1", { title: "a", n: 1 });
      await insert(world, "2", { title: "b", n: 1 });
      const request = { collection: "notes", aggregate: BY_TITLE, snapshot: false };
      await world.settled();
      const reader = await world.follow(mine(world), request);
      await world.settled();
      await world.notes.updateOne({ _id: `${world.me}/1` }, { $set: { n: 2 } });
      await reader.settle();
      expect(contents(reader.received)).toEqual([
        ["subscribed", "live"],
        ["changed", { _id: "a", notes: 1, total: 2 }],
      ]);
    },
  },
];
