/** The names that the editor of rules offers: both sides of each bound, and no value in them. */
import fc from "fast-check";
import { BSON } from "mongodb";
import { describe, expect, test } from "vitest";
import type { Call } from "../../../src/admin/api/endpoint.ts";
import { ruleNamesHandlers } from "../../../src/admin/api/rule-names-handler.ts";
import { claimNames, joinClaimNames } from "../../../src/admin/names/claim-names.ts";
import { fieldNames } from "../../../src/admin/names/field-names.ts";
import { nameAnswers } from "../../../src/admin/names/name-answers.ts";
import { NameTree } from "../../../src/admin/names/name-tree.ts";
import type { Processes } from "../../../src/admin/questions.ts";
import { FUZZ_FACTOR, startSeed } from "../../property/seed.ts";

type Row = Record<string, unknown>;

const fieldsIn = (...documents: Row[]) => fieldNames(documents.map((document) => BSON.serialize(document)));
const pathsIn = async (...documents: Row[]) =>
  (await fieldsIn(...documents)).map(({ parts }) => parts.join("."));
const claimsIn = async (...tokens: (Row | null)[]) => joinClaimNames([await claimNames(tokens)]);
/** An object with keys such as `k0`, `k1`, … */
const keys = (length: number, prefix = "k", value: unknown = 1) =>
  Object.fromEntries(Array.from({ length }, (_, n) => [`${prefix}${n}`, value]));

describe("fields", () => {
  test("have the types of all documents, and no indexes of arrays", async () => {
    const found = await fieldsIn(
      { _id: 1, total: 1.5, items: [{ sku: "a" }, 7, [{ deep: 1 }]], customer: { name: "x" } },
      { _id: new BSON.ObjectId(), total: null, items: [{ price: BSON.Long.fromNumber(1) }] },
    );
    expect(found.map(({ parts, types }) => [parts.join("."), types.join(" ")])).toEqual([
      ["_id", "int objectId"],
      ["customer", "object"],
      ["items", "array"],
      ["total", "double null"],
      ["customer.name", "string"],
      ["items.price", "long"],
      ["items.sku", "string"],
    ]);
    expect(await fieldsIn()).toEqual([]);
  });

  test("are at most 500, short paths first", async () => {
    const wide = (parents: number) => keys(parents, "p", keys(49, "c", 1));
    expect(await pathsIn(wide(10))).toHaveLength(500);
    const cut = await pathsIn({ ...wide(10), other: 1 });
    expect(cut).toHaveLength(500);
    expect(cut.slice(0, 11)).toContain("other");
  });

  test("have at most 5 segments and 200 characters", async () => {
    const nested = (depth: number): unknown => (depth === 0 ? 1 : { a: nested(depth - 1) });
    expect((await pathsIn(nested(5) as Row)).at(-1)).toBe("a.a.a.a.a");
    expect((await pathsIn(nested(6) as Row)).at(-1)).toBe("a.a.a.a.a");
    expect(await pathsIn({ ["x".repeat(200)]: 1 })).toHaveLength(1);
    expect(await pathsIn({ ["x".repeat(201)]: 1 })).toEqual([]);
    expect(await pathsIn({ a: { ["y".repeat(198)]: 1 } })).toHaveLength(2);
    expect(await pathsIn({ a: { ["y".repeat(199)]: 1 } })).toEqual(["a"]);
  });

  test("are folded into one entry under a parent with more than 50 keys, in one document or in several", async () => {
    expect(await pathsIn({ map: keys(50) })).toHaveLength(51);
    expect(await pathsIn({ map: keys(51) })).toEqual(["map", "map.*"]);
    expect(await pathsIn({ map: keys(50) }, { map: { one: 1 } })).toEqual(["map", "map.*"]);
    const values = keys(51, "k", { inner: 1 });
    expect(await pathsIn({ a: { map: values }, b: 1 })).toEqual(["a", "b", "a.map", "a.map.*"]);
    // The objects of a list have the same parent.
    expect(await pathsIn({ list: [keys(30), keys(30, "other")] })).toEqual(["list", "list.*"]);
    const [, folded] = await fieldsIn({ map: { ...keys(50), last: "text" } });
    expect(folded?.types).toEqual(["int", "string"]);
  });

  test("leave out keys that are ids, and keys that no rule can name", async () => {
    const ids = ["507f1f77bcf86cd799439011", "42", "9b2c1d7e-1111-4222-8333-123456789abc", "ada@example.com"];
    for (const id of ids) expect(await pathsIn({ by: { [id]: { name: 1 } } })).toEqual(["by"]);
    expect(await pathsIn({ by: { "a.b": 1, $set: 1, "": 1, x1: 1 } })).toEqual(["by", "by.x1"]);
    expect(await pathsIn({ by: { "*": 1, a: 1 } })).toEqual(["by", "by.*"]);
  });

  test("read 20 elements of an array and 1,000 keys of an object", async () => {
    const list = Array.from({ length: 21 }, (_, n) => ({ [`k${n}`]: 1 }));
    expect(await pathsIn({ list })).not.toContain("list.k20");
    expect(await pathsIn({ list })).toContain("list.k19");
    expect(await pathsIn({ by: { ...keys(999, "4"), last: 1 } })).toContain("by.last");
    expect(await pathsIn({ by: { ...keys(1_000, "4"), last: 1 } })).not.toContain("by.last");
  });

  test("read 2,000 objects of a document, the outer ones first", async () => {
    const inner = Array.from({ length: 20 }, () => ({
      b: Array.from({ length: 20 }, () => ({ c: { d: 1 } })),
    }));
    // 1 root, 20 elements, 400 elements, 400 objects for each of the lists.
    expect(await pathsIn({ l: inner, m: inner })).toContain("m.b.c.d");
    const more = { ...keys(4, "l", inner), z: inner };
    expect(await pathsIn(more)).toContain("z.b");
    expect(await pathsIn(more)).not.toContain("z.b.c.d");
  });

  test("let other work run while large documents are read", async () => {
    const turns: string[] = [];
    const inner = Array.from({ length: 20 }, () => ({ b: Array.from({ length: 20 }, () => ({ c: 1 })) }));
    const documents = Array.from({ length: 50 }, () => keys(5, "l", inner));
    const bytes = documents.map((document) => BSON.serialize(document));
    const reading = fieldNames(bytes).then(() => turns.push("read"));
    setImmediate(() => turns.push("other"));
    await reading;
    expect(turns).toEqual(["other", "read"]);
  });
});

describe("claims", () => {
  test("are written as in rules, without members of lists", async () => {
    const token = { sub: "ada", org: { id: 7, roles: [{ name: "x" }] }, "https://a.example/roles": ["x"] };
    expect(await claimsIn(token, null, { sub: "bob", team: 1 })).toEqual([
      '%%user["https://a.example/roles"]',
      "%%user.org",
      "%%user.sub",
      "%%user.team",
      "%%user.org.id",
      "%%user.org.roles",
    ]);
  });

  test("are at most 200, of 5,000 connections", async () => {
    const wide = { a: keys(49), b: keys(49), c: keys(49), d: keys(49) };
    expect(await claimsIn(wide)).toHaveLength(200);
    expect(await claimsIn({ ...wide, e: 1 })).toHaveLength(200);
    const tokens = (before: number) => [...Array.from({ length: before }, () => null), { last: 1 }];
    expect(await claimsIn(...tokens(4_999))).toEqual(["%%user.last"]);
    expect(await claimsIn(...tokens(5_000))).toEqual([]);
  });

  test("are folded as fields are, in one process or in all together", async () => {
    expect(await claimsIn({ orgs: keys(50) })).toHaveLength(51);
    expect(await claimsIn({ orgs: keys(51) })).toEqual(["%%user.orgs", "%%user.orgs.*"]);
    const one = await claimNames([{ orgs: keys(30) }]);
    const other = await claimNames([{ orgs: keys(30, "other") }]);
    const folded = await claimNames([{ orgs: keys(51) }]);
    expect(joinClaimNames([one, other])).toEqual(["%%user.orgs", "%%user.orgs.*"]);
    expect(joinClaimNames([one, folded])).toEqual(["%%user.orgs", "%%user.orgs.*"]);
    expect(joinClaimNames([folded, one])).toEqual(["%%user.orgs", "%%user.orgs.*"]);
  });
});

test("a tree has at most 10,000 names, and folds a parent that has no room for its keys", () => {
  const tree = new NameTree(() => true);
  const add = (...path: string[]) => {
    let node: ReturnType<typeof tree.add> = tree.root;
    for (const key of path) node = node === null ? null : tree.add(node, key, "int");
    return node;
  };
  for (let n = 0; n < 49; n++)
    for (let m = 0; m < 50; m++) for (let k = 0; k < 3; k++) add(`a${n}`, `b${m}`, `c${k}`);
  // 49 + 2,450 + 7,350 names, and 151 more.
  for (let m = 0; m < 50; m++) for (let k = 0; k < 2; k++) add("last", `b${m}`, `c${k}`);
  const room = add("last", "b0");
  expect(room?.children.size).toBe(2);
  expect(add("last", "b0", "new")).toBeNull();
  expect(room?.mapTypes).toEqual(new Set(["int"]));
  // Folding has made room.
  expect(add("last", "b1", "new")).not.toBeNull();
});

test("no value of a document or a token is in the answer", async () => {
  const seed = startSeed("rule names");
  const value = fc.oneof(
    fc.stringMatching(/^[a-z0-9]{1,8}$/).map((text) => `secret-${text}`),
    fc.integer({ min: 1_000_000 }),
    fc.double({ min: 1e7, noNaN: true, noDefaultInfinity: true }),
  );
  const key = fc.oneof(fc.stringMatching(/^[a-z]{1,6}$/), fc.constantFrom("*", "__proto__", "constructor"));
  const { document } = fc.letrec<{ document: Row; node: unknown }>((tie) => ({
    document: fc.dictionary(key, tie("node"), { maxKeys: 6 }),
    node: fc.oneof({ depthSize: "small" }, value, fc.array(tie("node"), { maxLength: 4 }), tie("document")),
  }));
  const property = fc.asyncProperty(fc.array(document, { maxLength: 5 }), async (documents) => {
    const found = JSON.stringify([await fieldsIn(...documents), await claimsIn(...documents)]);
    expect(found).not.toMatch(/secret|\d/);
  });
  await fc.assert(property, { seed, numRuns: 300 * FUZZ_FACTOR });
});

describe("the answers of a process", () => {
  const start = (followed: readonly string[] = ["shop.orders2"]) => {
    const asked: string[] = [];
    const clock = { nowMs: 0 };
    const state = { followed, fails: false };
    const collection = { name: "orders", database: "shop", collectionName: "orders2" };
    const answers = nameAnswers(
      {
        rules: () => ({ rules: { collections: new Map([["orders", collection]]) } as never }),
        isFollowed: (namespace) => state.followed.includes(namespace),
        sample: async (namespace) => {
          asked.push(`${namespace.database}.${namespace.collection}`);
          if (state.fails) throw new Error("no answer");
          return [BSON.serialize({ total: 1 })];
        },
        stored: async (most) => {
          if (state.fails) throw new Error("no right to list");
          return ["archive", "orders2"].slice(0, most);
        },
        gateway: { each: () => [{ identity: null }, { identity: { claims: { sub: "ada" } } as never }] },
      },
      () => clock.nowMs,
    );
    return { answers, asked, clock, state };
  };

  test("are sampled by the name that clients use, and kept for a minute", async () => {
    const { answers, asked, clock } = start();
    const stored = ["archive", "orders2"];
    const expected = { collections: ["orders"], stored, fields: [{ path: "total", types: ["int"] }] };
    expect(await answers.ruleNames("orders")).toEqual(expected);
    clock.nowMs = 59_999;
    expect(await answers.ruleNames("orders")).toEqual(expected);
    expect(asked).toEqual(["shop.orders2"]);
    clock.nowMs = 60_000;
    await answers.ruleNames("orders");
    expect(asked).toHaveLength(2);
    expect(await answers.claimNames(undefined)).toEqual([["sub"]]);
  });

  test("read no collection that the service does not follow, not even from the kept answers", async () => {
    const { answers, asked, state } = start();
    expect(await answers.ruleNames("other")).toBeNull();
    expect(await answers.ruleNames(null)).toMatchObject({ collections: ["orders"], fields: null });
    expect(asked).toEqual([]);
    await answers.ruleNames("orders");
    state.followed = [];
    expect(await answers.ruleNames("orders")).toBeNull();
  });

  test("keep no failure", async () => {
    const { answers, state } = start();
    state.fails = true;
    await expect(answers.ruleNames("orders")).rejects.toThrow("no answer");
    expect(await answers.ruleNames(null)).toEqual({ collections: ["orders"], stored: [], fields: null });
    state.fails = false;
    expect(await answers.ruleNames("orders")).toMatchObject({ fields: [{ path: "total" }] });
  });
});

test("a second request at the same time is refused, and one for an unknown collection has a code", async () => {
  const gates: (() => void)[] = [];
  const processes = {
    one: () => new Promise<null>((resolve) => gates.push(() => resolve(null))),
    all: async () => [],
  } as unknown as Processes;
  const { ruleNames } = ruleNamesHandlers(processes);
  const first = ruleNames({} as Call, { collection: "orders" });
  await expect(ruleNames({} as Call, {})).rejects.toMatchObject({ status: 429, code: "busy" });
  for (const open of gates) open();
  await expect(first).rejects.toMatchObject({ status: 404, code: "no-collection" });
});
