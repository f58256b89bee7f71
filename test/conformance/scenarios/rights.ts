/** The documents and fields that each user sees, and nothing else, for every transport. */
import { expect } from "vitest";
import { brief, briefly, held, type Note, type Scenario, type World } from "../scenario.ts";

const insert = ({ notes, me }: World, _id: string, more: Partial<Note> = {}) =>
  notes.insertOne({ ...more, _id: `${me}/${_id}`, owner: me });
const mine = (world: World, more: object = {}) => ({ sub: world.me, ...more });

/** Filters on fields that the rule hides, by every way that leads to a field. */
const ON_HIDDEN_FIELDS: readonly (readonly [string, object])[] = [
  ["equality", { secret: "x" }],
  ["an operator", { secret: { $exists: true } }],
  ["$not", { secret: { $not: { $gt: 1 } } }],
  ["a path below", { "secret.deep": 1 }],
  ["a parent of it", { inner: { hidden: 1 } }],
  ["a nested path", { "inner.hidden": { $gt: "" } }],
  ["an index of an array", { "inner.0.hidden": 1 }],
  ["two indexes", { "inner.0.1.hidden": 1 }],
  ["$elemMatch", { inner: { $elemMatch: { hidden: 1 } } }],
  ["$elemMatch below $not", { inner: { $not: { $elemMatch: { hidden: { $gt: 1 } } } } }],
  ["$and in $or in $nor", { $nor: [{ $or: [{ $and: [{ owner: "x" }, { secret: 1 }] }] }] }],
  ["$or in $and in $elemMatch", { $and: [{ inner: { $elemMatch: { $or: [{ x: 1 }, { hidden: 1 }] } } }] }],
  ["$all of $elemMatch", { inner: { $all: [{ $elemMatch: { hidden: 1 } }] } }],
  ["$size of it", { "inner.hidden": { $size: 1 } }],
  ["$type of it", { secret: { $type: "string" } }],
  ["a prefix", { secret: { $regex: "^a" } }],
];

export const RIGHTS: readonly Scenario[] = [
  {
    name: "[4] gives each user the documents of their own rule alone, live and in the snapshot",
    async run(world) {
      const other = `${world.me}-other`;
      await insert(world, "1");
      await world.notes.insertOne({ _id: `${other}/1`, owner: other });
      const reader = await world.follow(mine(world), { collection: "notes" });
      await world.notes.insertOne({ _id: `${other}/2`, owner: other });
      await world.notes.updateOne({ _id: `${other}/1` }, { $set: { n: 1 } });
      await world.notes.deleteOne({ _id: `${other}/1` });
      await reader.settle();
      expect(briefly(reader.received)).toEqual([
        ["subscribed", "snapshot"],
        ["snapshot", [{ _id: `${world.me}/1`, owner: world.me }]],
      ]);
    },
  },
  {
    name: "[G5] a document that moves out of someone's rights is removed, by _id alone and only where it was seen",
    async run(world) {
      const other = `${world.me}-other`;
      const third = `${world.me}-third`;
      await insert(world, "1", { title: "t" });
      const readers = [];
      for (const sub of [world.me, other, third]) {
        readers.push(await world.follow({ sub }, { collection: "notes" }));
      }
      await world.notes.updateOne({ _id: `${world.me}/1` }, { $set: { owner: other, title: "after" } });
      for (const reader of readers) await reader.settle();
      const [left, got, never] = readers.map((reader) => reader.received.slice(2));
      expect(left).toEqual([
        {
          type: "removed",
          query: expect.any(Number),
          cursor: expect.any(String),
          cause: "update",
          _id: `${world.me}/1`,
        },
      ]);
      expect(briefly(got ?? [])).toEqual([
        ["added", "update", { _id: `${world.me}/1`, owner: other, title: "after" }],
      ]);
      expect(never).toEqual([]);
    },
  },
  {
    name: "[4] hidden fields are in no document, and a write to them alone sends nothing",
    async run(world) {
      await insert(world, "1", { secret: "s", inner: { hidden: 1, shown: 2 } });
      const reader = await world.follow(mine(world), { collection: "notes" });
      await world.notes.updateOne({ _id: `${world.me}/1` }, { $set: { secret: "t", "inner.hidden": 9 } });
      await world.notes.updateOne({ _id: `${world.me}/1` }, { $unset: { secret: 1 } });
      await world.notes.replaceOne(
        { _id: `${world.me}/1` },
        { inner: { hidden: [], shown: 2 }, owner: world.me },
      );
      await insert(world, "2", { secret: "x", inner: [{ hidden: 1 }, { shown: 3, hidden: 1 }] });
      await reader.settle();
      const shown = { _id: `${world.me}/1`, inner: { shown: 2 }, owner: world.me };
      expect(reader.received.filter(({ type }) => type === "snapshot")[0]?.["docs"]).toEqual([shown]);
      expect(briefly(reader.received.slice(2)).at(-1)).toEqual([
        "added",
        "insert",
        { _id: `${world.me}/2`, owner: world.me, inner: [{}, { shown: 3 }] },
      ]);
      expect(JSON.stringify(reader.received)).not.toMatch(/secret|hidden/);
    },
  },
  {
    name: "[4] a filter on a hidden field is forbidden, whatever it is wrapped in",
    async run(world) {
      for (const [, filter] of ON_HIDDEN_FIELDS) {
        const reader = await world.follow(mine(world), {
          collection: "notes",
          filter: filter as Record<string, unknown>,
        });
        expect(brief(reader.answer), JSON.stringify(filter)).toEqual(["error", "forbidden"]);
        expect(reader.answer).toMatchObject({ retry: "never" });
        await reader.leave();
      }
    },
  },
  {
    name: "[4] a sort by a hidden field is forbidden, too",
    async run(world) {
      for (const path of ["secret", "inner.hidden", "inner.0.hidden", "inner", "secret.x"]) {
        const sort = [["title", 1] as const, [path, -1] as const];
        const reader = await world.follow(mine(world), { collection: "notes", sort });
        expect(brief(reader.answer), path).toEqual(["error", "forbidden"]);
        await reader.leave();
      }
    },
  },
  {
    name: "[rules.md 1] a claim is a value: operators, lists and nothing in its place are forbidden, and open nothing",
    async run(world) {
      await world.notes.insertOne({ _id: `${world.me}/1`, owner: world.me, team: "red" });
      const one: readonly unknown[] = [
        { $ne: null },
        { $gt: "" },
        { $in: ["red"] },
        ["red"],
        [],
        null,
        {},
        { $regex: "^r" },
      ];
      for (const team of one) {
        const reader = await world.follow(mine(world, { team }), { collection: "team" });
        expect(brief(reader.answer), JSON.stringify(team)).toEqual(["error", "forbidden"]);
        await reader.leave();
      }
      const many: readonly unknown[] = [
        "red",
        [{ $ne: null }],
        [["red"]],
        { 0: "red", length: 1 },
        [null],
        { $ne: 1 },
      ];
      for (const teams of many) {
        const reader = await world.follow(mine(world, { teams }), { collection: "teams" });
        expect(brief(reader.answer), JSON.stringify(teams)).toEqual(["error", "forbidden"]);
        await reader.leave();
      }
      const none = await world.follow(mine(world, { teams: [] }), { collection: "teams" });
      await none.settle();
      expect(briefly(none.received)).toEqual([
        ["subscribed", "snapshot"],
        ["snapshot", []],
      ]);
    },
  },
  {
    name: "[G5] each user receives the part of one write that their own rule shows, computed independently of others",
    async run(world) {
      const filter = { owner: world.me };
      const requests = [
        [mine(world, { roles: ["admin"] }), { collection: "notes", filter }],
        [mine(world), { collection: "notes" }],
        [mine(world), { collection: "notes", fields: ["title"] }],
        [mine(world), { collection: "board", filter }],
        [mine(world, { roles: ["admin"] }), { collection: "notes", filter, fields: ["secret"] }],
      ] as const;
      const readers = [];
      for (const [claims, request] of requests) readers.push(await world.follow(claims, request));
      const whole = { title: "t", public: true, secret: "s", inner: { hidden: 1, shown: 2 } };
      for (let n = 0; n < 5; n++) {
        await world.notes.replaceOne(
          { _id: `${world.me}/1` },
          { owner: world.me, ...whole, n, title: `t${n}`, secret: `s${n}` },
          { upsert: true },
        );
      }
      for (const reader of readers) await reader.settle();
      const _id = `${world.me}/1`;
      const owner = world.me;
      const shown = readers.map((reader) => held(reader.received));
      expect(shown).toEqual([
        [{ _id, owner, ...whole, n: 4, title: "t4", secret: "s4" }],
        [{ _id, owner, title: "t4", public: true, inner: { shown: 2 }, n: 4 }],
        [{ _id, title: "t4" }],
        [{ _id, owner, title: "t4" }],
        [{ _id, secret: "s4" }],
      ]);
      // A cursor or a ticket is random to the eye, and may begin like a secret.
      const withoutPlaces = (key: string, value: unknown) =>
        ["cursor", "ticket", "id"].includes(key) ? undefined : value; // random texts
      const others = readers.slice(1, 4).map((reader) => reader.received);
      expect(JSON.stringify(others, withoutPlaces)).not.toMatch(/secret|hidden|"s\d/);
    },
  },
  {
    name: "[4] fields cannot include a field that the rule hides",
    async run(world) {
      await insert(world, "1", { secret: "s", inner: { hidden: 1, shown: 2 } });
      const reader = await world.follow(mine(world), {
        collection: "notes",
        fields: ["secret", "inner"],
      });
      await reader.settle();
      expect(briefly(reader.received.slice(1))).toEqual([
        ["snapshot", [{ _id: `${world.me}/1`, inner: { shown: 2 } }]],
      ]);
    },
  },
  {
    name: "[5] a collection that no rule opens is forbidden, one that does not exist is unknown",
    async run(world) {
      const forbidden = await world.follow(mine(world), { collection: "staff" });
      expect(forbidden.answer).toMatchObject({ type: "error", code: "forbidden", retry: "never" });
      const unknown = await world.follow(mine(world), { collection: "no-such" });
      expect(unknown.answer).toMatchObject({ type: "error", code: "unknown-collection", retry: "never" });
    },
  },
  {
    name: "[5] rules.md 5: a claim that the rule needs and the token lacks is forbidden, not everything and not null",
    async run(world) {
      const reader = await world.follow({ noSub: true }, { collection: "notes" });
      expect(brief(reader.answer)).toEqual(["error", "forbidden"]);
    },
  },
  {
    name: "[8] an invented, altered, borrowed or missing ticket resets as cursor-invalid, at whichever byte",
    async run(world) {
      await insert(world, "gone");
      const first = await world.follow(mine(world), { collection: "notes" });
      await first.settle();
      const { cursor, ticket } = first.place;
      const borrowed = await world.follow(
        { sub: `${world.me}-thief`, roles: ["admin"] },
        {
          collection: "notes",
          filter: { owner: `${world.me}-nobody` },
        },
      );
      await borrowed.settle();
      await world.notes.deleteOne({ _id: `${world.me}/gone` });
      const altered = [...Buffer.from(ticket, "base64url")].map((_, at) => {
        const bytes = Buffer.from(ticket, "base64url");
        bytes[at] = (bytes[at] ?? 0) ^ 1;
        return bytes.toString("base64url");
      });
      const tickets = [
        undefined,
        "invented",
        borrowed.place.ticket,
        `${ticket}A`,
        ticket.slice(0, -2),
        ...altered.filter((_, at) => at % 9 === 0),
        altered.at(-1),
      ];
      const comeBack = async (given: string | undefined) => {
        const reader = await world.follow(mine(world), {
          collection: "notes",
          cursor,
          ...(given === undefined ? {} : { ticket: given }),
        });
        await reader.settle();
        expect(briefly(reader.received.slice(0, 1))).toEqual([["subscribed", "reset", "cursor-invalid"]]);
        expect(reader.received[1]?.type).toBe("snapshot");
        expect(held(reader.received)).toEqual([]);
        await reader.leave();
      };
      await Promise.all(tickets.map(comeBack));
    },
  },
  {
    name: "[3.3] an invented or altered cursor resets as cursor-invalid, each byte of it",
    async run(world) {
      const first = await world.follow(mine(world), { collection: "notes" });
      await first.settle();
      const { cursor, ticket } = first.place;
      const bytes = Buffer.from(cursor, "base64url");
      const altered = [...bytes.keys()].map((at) => {
        const copy = Buffer.from(bytes);
        copy[at] = (copy[at] ?? 0) ^ 0x10;
        return copy.toString("base64url");
      });
      for (const given of ["invented", "A".repeat(27), `${cursor}A`, cursor.slice(1), ...altered]) {
        const reader = await world.follow(mine(world), { collection: "notes", cursor: given, ticket });
        expect(brief(reader.answer), given).toEqual(["subscribed", "reset", "cursor-invalid"]);
        await reader.leave();
      }
    },
  },
  {
    name: "[3.3] the ticket of another query of the same user resets as rights-changed",
    async run(world) {
      const first = await world.follow(mine(world), { collection: "notes", filter: { n: 1 } });
      await first.settle();
      const requests = [
        { collection: "notes", filter: { n: 2 } },
        { collection: "notes" },
        { collection: "notes", filter: { n: 1 }, fields: ["title"] },
        { collection: "board", filter: { owner: world.me } },
      ];
      for (const request of requests) {
        const reader = await world.follow(mine(world), { ...request, ...first.place });
        expect(brief(reader.answer), JSON.stringify(request)).toEqual([
          "subscribed",
          "reset",
          "rights-changed",
        ]);
        await reader.leave();
      }
    },
  },
  {
    name: "[3.3] claims that select another live query reset as rights-changed, and show what is allowed now",
    async run(world) {
      const roles = ["admin"];
      const filter = { owner: world.me };
      await insert(world, "1", { secret: "s" });
      const admin = await world.follow(mine(world, { roles }), { collection: "notes", filter });
      await admin.settle();
      expect(JSON.stringify(admin.received)).toContain("secret");
      const demoted = await world.follow(mine(world), { collection: "notes", filter, ...admin.place });
      await demoted.settle();
      expect(briefly(demoted.received)).toEqual([
        ["subscribed", "reset", "rights-changed"],
        ["snapshot", [{ _id: `${world.me}/1`, owner: world.me }]],
      ]);
    },
  },
  {
    name: "[3.3] a cursor from before the ticket's beginning is cursor-invalid",
    async run(world) {
      const first = await world.follow(mine(world), { collection: "notes" });
      await first.settle();
      const early = first.place.cursor;
      await insert(world, "1", { title: "what it held before" });
      await world.notes.updateOne({ _id: `${world.me}/1` }, { $set: { title: "after" } });
      // In another form of values: a newcomer may be served a snapshot that was read for others a moment ago.
      const ejson = { values: "ejson" } as const;
      const second = await world.follow(mine(world), { collection: "notes" }, ejson);
      await second.settle();
      const { ticket } = second.place;
      const reader = await world.follow(mine(world), { collection: "notes", cursor: early, ticket }, ejson);
      await reader.settle();
      expect(briefly(reader.received)).toEqual([
        ["subscribed", "reset", "cursor-invalid"],
        ["snapshot", [{ _id: `${world.me}/1`, owner: world.me, title: "after" }]],
      ]);
    },
  },
  {
    name: "[4] names the operator that a filter may not hold, and everything else that is wrong with it",
    async run(world) {
      const refused: readonly (readonly [Record<string, unknown>, string])[] = [
        [{ $where: "1" }, "$where"],
        [{ $expr: {} }, "$expr"],
        [{ $text: { $search: "x" } }, "$text"],
        [{ n: { $near: [] } }, "$near"],
        [{ n: { $function: {} } }, "$function"],
        [{ n: { $jsonSchema: {} } }, "$jsonSchema"],
      ];
      for (const [filter, operator] of refused) {
        const reader = await world.follow(mine(world), { collection: "notes", filter });
        expect(reader.answer).toMatchObject({ type: "error", code: "bad-filter", retry: "never" });
        expect(JSON.stringify(reader.answer)).toContain(operator);
        await reader.leave();
      }
      const deep = { $or: [{ $or: [{ $or: [{ $or: [{ $or: [{ $or: [{ n: 1 }] }] }] }] }] }] };
      const bad: readonly Record<string, unknown>[] = [
        deep,
        { $or: {} },
        { $and: { 0: { n: 1 }, length: 1 } },
        { $or: { 0: { secret: "x" }, length: 1 } },
        { $nor: { 0: { secret: "x" }, length: 1 } },
        { $nor: "secret" },
        { inner: { $all: { 0: { $elemMatch: { hidden: 1 } }, length: 1 } } },
        { n: { $not: { $in: { 0: 1, length: 1 } } } },
        { $nor: [] },
        { n: { $in: 1 } },
        { title: { $regex: "a.*b" } },
        { title: { $regex: "^a", $options: "i" } },
        { n: { $in: Array.from({ length: 1_001 }, (_, i) => i) } },
        { $and: Array.from({ length: 51 }, (_, i) => ({ [`f${i}`]: 1 })) },
      ];
      for (const filter of bad) {
        const reader = await world.follow(mine(world), { collection: "notes", filter });
        expect(brief(reader.answer), JSON.stringify(filter).slice(0, 80)).toEqual(["error", "bad-filter"]);
        await reader.leave();
      }
      const depth5 = { $or: [{ $or: [{ $or: [{ $or: [{ $or: [{ n: 1 }] }] }] }] }] };
      const reader = await world.follow(mine(world), { collection: "notes", filter: depth5 });
      expect(brief(reader.answer)).toEqual(["subscribed", "snapshot"]);
    },
  },
  {
    name: "[4] allow.snapshot: false forbids the snapshot and gives the changes",
    async run(world) {
      const refused = await world.follow(mine(world), { collection: "ticker" });
      expect(brief(refused.answer)).toEqual(["error", "forbidden"]);
      const live = await world.follow(mine(world), { collection: "ticker", snapshot: false });
      await insert(world, "1");
      await live.settle();
      expect(live.received.map(({ type }) => type)).toEqual(["subscribed", "added"]);
    },
  },
  {
    name: "[5] no error text holds a token, a document, a rule or a stack",
    async run(world) {
      await insert(world, "1", { secret: "the-document" });
      const errors: unknown[] = [];
      for (const request of [
        { collection: "staff" },
        { collection: "no-such" },
        { collection: "notes", filter: { secret: "the-document" } },
        { collection: "notes", filter: { n: { $bad: 1 } } },
        { collection: "notes", fields: ["$bad"] },
      ]) {
        const reader = await world.follow(mine(world), request);
        expect(reader.answer.type).toBe("error");
        errors.push(reader.answer);
      }
      const text = JSON.stringify(errors);
      expect(text).not.toMatch(/eyJ|the-document|customer|%%user|owner|\bat .*\.[tj]s|node_modules|\.ts:/);
    },
  },
];
