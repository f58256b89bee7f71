import { CompletionContext, type CompletionResult } from "@codemirror/autocomplete";
import { EditorState } from "@codemirror/state";
import { expect, test } from "vitest";
import { completeNames } from "../../../src/console/rules/complete-names.ts";
import { RuleNames } from "../../../src/console/rules/rule-names.ts";

const RULE = "collections:\n  orders:\n    rules:\n      - name: a\n        ";
const NAMES = {
  collections: ["orders"],
  stored: ["orders2", "past orders"],
  fields: [
    { path: "_id", types: ["int"] },
    { path: "on", types: ["bool"] },
    { path: "first name", types: ["string"] },
    { path: "items", types: ["array"] },
    { path: "items.sku", types: ["string", "null"] },
    { path: "members.*", types: ["object"] },
    { path: "*", types: ["int"] },
  ],
  claims: ["%%user.sub", "%%user.orgs.*", '%%user["https://a.example/roles"]'],
};

/** Completes at the `|`. */
function completedAt(text: string, names: RuleNames, explicit = false): Promise<CompletionResult | null> {
  const pos = text.indexOf("|");
  const state = EditorState.create({ doc: text.replace("|", "") });
  return Promise.resolve(completeNames(names)(new CompletionContext(state, pos, explicit)));
}

async function applied(text: string, explicit = true) {
  const asked: (string | null)[] = [];
  const names = new RuleNames(async (collection) => {
    asked.push(collection);
    return NAMES;
  });
  const result = await completedAt(text, names, explicit);
  return { asked, from: result?.from, texts: result?.options.map(({ apply }) => apply) ?? [] };
}

test("offers the fields of the collection as keys, with quotes where YAML needs them, and no map", async () => {
  const { asked, texts, from } = await applied(`${RULE}filter: { i|`);
  expect(asked).toEqual(["orders"]);
  expect(texts).toEqual(["_id: ", '"on": ', '"first name": ', "items: ", "items.sku: "]);
  expect(from).toBe(`${RULE}filter: { `.length);
  expect((await applied(`${RULE}fields: { include: [|`)).texts).toEqual([
    "_id",
    '"on"',
    '"first name"',
    "items",
    "items.sku",
  ]);
  expect((await applied(`${RULE}filter: { items: { $elemMatch: { |`)).texts).toEqual(["sku: "]);
});

test("offers collections as keys, and those of the database behind a collection and a lookup", async () => {
  const { asked, texts } = await applied("collections:\n  o|");
  expect(asked).toEqual([null]);
  expect(texts).toEqual(["orders: ", "orders2: ", '"past orders": ']);
  const behind = ["orders2", '"past orders"'];
  expect((await applied("collections:\n  orders:\n    collection: o|")).texts).toEqual(behind);
  const lookup = "collections:\n  orders:\n    lookups:\n      mine: { collection: o|";
  expect((await applied(lookup)).texts).toEqual(behind);
  expect((await applied("collections: { |")).texts).toHaveLength(3);
});

test("offers claims after %%, in quotes, which are closed once", async () => {
  const bare = await applied(`${RULE}filter: { a: %%us| }`, false);
  expect(bare.asked).toEqual([null]);
  expect(bare.texts).toEqual(['"%%user.sub"', String.raw`"%%user[\"https://a.example/roles\"]"`]);
  expect((await applied(`${RULE}filter: { a: "%%us|" }`)).texts[0]).toBe("%%user.sub");
  expect((await applied(`${RULE}filter: { a: "%%us| }`)).texts[0]).toBe('%%user.sub"');
  expect((await applied(`${RULE}filter: { a: '%%us|' }`)).texts[1]).toBe('%%user["https://a.example/roles"]');
  expect((await applied(`${RULE}filter: { a: "%%oid:us|" }`)).texts[0]).toBe("%%oid:user.sub");
});

test("offers nothing before a key is typed, unless it is wanted explicitly", async () => {
  expect(await applied(`${RULE}filter: { |`, false)).toMatchObject({ asked: [], texts: [] });
});

test("asks once per minute and collection, and one request after the other", async () => {
  const asked: (string | null)[] = [];
  const answers: (() => void)[] = [];
  const clock = { nowMs: 0 };
  const ask = (collection: string | null) => {
    asked.push(collection);
    return new Promise<typeof NAMES>((resolve) => answers.push(() => resolve(NAMES)));
  };
  const names = new RuleNames(ask, () => clock.nowMs);
  const [first, same, other] = [names.of("a"), names.of("a"), names.of(null)];
  await Promise.resolve();
  expect(asked).toEqual(["a"]);
  answers.shift()?.();
  await first;
  expect(await same).toBe(NAMES);
  await new Promise(setImmediate);
  expect(asked).toEqual(["a", null]);
  answers.shift()?.();
  await other;
  clock.nowMs = 59_999;
  await names.of("a");
  expect(asked).toHaveLength(2);
  clock.nowMs = 60_000;
  void names.of("a");
  await new Promise(setImmediate);
  expect(asked).toEqual(["a", null, "a"]);
});

test("offers nothing after a failure, and asks again after five seconds", async () => {
  const clock = { nowMs: 0 };
  let asked = 0;
  const ask = async () => {
    if (++asked === 1) throw new Error("no answer");
    return NAMES;
  };
  const names = new RuleNames(ask, () => clock.nowMs);
  expect(await completedAt(`${RULE}filter: { i|`, names)).toBeNull();
  clock.nowMs = 4_999;
  expect(await completedAt(`${RULE}filter: { i|`, names)).toBeNull();
  expect(asked).toBe(1);
  clock.nowMs = 5_000;
  expect(await completedAt(`${RULE}filter: { i|`, names)).not.toBeNull();
});
