import { expect, test } from "vitest";
import { compileRules, type RulesSource } from "../../../src/rules/compile-rules.ts";
import { RuleOptions } from "../../../src/rules/options.ts";
import { RuleCoverage, type Untested } from "../../../src/rules/rule-coverage.ts";
import { RuleTestFile } from "../../../src/rules/rule-test-options.ts";
import { testRules } from "../../../src/rules/test-rules.ts";

const SETTINGS = { anonymous: true, nowMs: 0 };
const LIMITS = { filterDepth: 8, filterPredicates: 64, filterValues: 256, windowSize: 100 };

/** The rules and branches of `orders` that the tests do not reach. */
function untestedBy(rules: readonly object[], tests: readonly object[], lookups = {}): readonly Untested[] {
  const source = {
    mongodb: { database: "shop" },
    collections: {
      orders: { lookups, rules: rules.map((rule) => RuleOptions.parse(rule)) },
    },
    limits: LIMITS,
  } as unknown as RulesSource; // as the configuration is read
  const compiled = compileRules(source);
  const coverage = new RuleCoverage(compiled);
  const named = tests.map((each, index) => ({
    name: `test ${index}`,
    collection: "orders",
    expect: "allowed",
    ...each,
  }));
  if (named.length > 0) testRules(compiled, RuleTestFile.parse({ tests: named }), SETTINGS, coverage);
  return coverage.untested();
}

const WHEN = { $or: [{ "%%user.role": "admin" }, { "%%user.groups": "staff", "%%user.level": { $gt: 3 } }] };
const FILTER = { open: true, $or: [{ owner: "%%user.sub" }, { public: true }] };

test("lists a rule that applies in no test, and none of its branches", () => {
  const rules = [{ name: "staff", when: WHEN, filter: FILTER }, { name: "rest" }];
  expect(untestedBy(rules, [{ as: { sub: "ada" } }])).toEqual([
    { collection: "orders", rule: "staff", part: null, branch: null },
  ]);
  expect(untestedBy(rules, [])).toHaveLength(2);
});

test("lists the branches of when that let no user of a test in", () => {
  const rules = [{ name: "staff", when: WHEN }];
  const [admin, staff] = [{ as: { role: "admin" } }, { as: { groups: ["staff"], level: 4 } }];
  const about = { collection: "orders", rule: "staff", part: "when" };
  expect(untestedBy(rules, [admin])).toEqual([
    { ...about, branch: '{"%%user.groups":"staff","%%user.level":{"$gt":3}}' },
  ]);
  expect(untestedBy(rules, [staff])).toEqual([{ ...about, branch: '{"%%user.role":"admin"}' }]);
  expect(untestedBy(rules, [admin, staff])).toEqual([]);
  expect(untestedBy(rules, [{ as: { role: "admin", groups: ["staff"], level: 4 } }])).toEqual([]);
});

test("lists the branches of filter that show no document of a test", () => {
  const rules = [{ name: "own", filter: FILTER }];
  const shows = (document: object) => ({ as: { sub: "ada" }, documents: [{ visible: document }] });
  const about = { collection: "orders", rule: "own", part: "filter" };
  expect(untestedBy(rules, [{ as: { sub: "ada" } }])).toEqual([
    { ...about, branch: '{"owner":"%%user.sub"}' },
    { ...about, branch: '{"public":true}' },
  ]);
  expect(untestedBy(rules, [shows({ _id: 1, open: true, public: true })])).toEqual([
    { ...about, branch: '{"owner":"%%user.sub"}' },
  ]);
  // The branch holds, but the rule hides the document.
  expect(untestedBy(rules, [shows({ _id: 1, open: false, owner: "ada" })])).toHaveLength(2);
  // The rule shows the document, even if the test is wrong about it, or the client asks for others.
  const wrong = { documents: [{ hidden: { _id: 1, open: true, public: true } }], filter: { _id: 2 } };
  expect(untestedBy(rules, [{ as: { sub: "ada" }, ...wrong }])).toHaveLength(1);
});

test("looks for branches in $and and in other branches, and not where a match needs them to fail", () => {
  const inner = { $or: [{ b: 1 }, { c: 1 }] };
  const filter = {
    $and: [{ $or: [{ a: 1 }, inner] }],
    $nor: [{ $or: [{ x: 1 }, { y: 1 }] }],
    list: { $not: { $elemMatch: { $or: [{ x: 1 }, { y: 1 }] } } },
  };
  const shows = (document: object) => ({ as: {}, documents: [{ visible: { _id: 1, ...document } }] });
  const branches = (...tests: object[]) =>
    untestedBy([{ name: "r", filter }], tests).map(({ branch }) => branch);
  // A branch that no test reaches contains others, which need no entry of their own.
  expect(branches(shows({ a: 1 }))).toEqual(['{"$or":[{"b":1},{"c":1}]}']);
  expect(branches(shows({ b: 1 }))).toEqual(['{"a":1}', '{"c":1}']);
  expect(branches(shows({ a: 1 }), shows({ b: 1, c: 1 }))).toEqual([]);
});

test("knows lookups by their name, and the values that a test gives them", () => {
  const lookups = { rooms: { collection: "members", filter: { user: "%%user.sub" }, value: "room" } };
  const filter = { $or: [{ room: { $in: "%%lookup.rooms" } }, { public: true }] };
  const given = { members: [{ user: "ada", room: "tea" }] };
  const shows = (document: object) => ({ as: { sub: "ada" }, given, documents: [{ visible: document }] });
  const rules = [{ name: "member", filter }];
  expect(untestedBy(rules, [shows({ _id: 1, public: true })], lookups)).toMatchObject([
    { branch: '{"room":{"$in":["%%lookup.rooms"]}}' },
  ]);
  expect(untestedBy(rules, [shows({ _id: 1, room: "tea", public: true })], lookups)).toEqual([]);
});

test("cuts the text of a branch at 400 characters", () => {
  const branchOf = (length: number) => {
    const value = "v".repeat(length - '{"a":""}'.length);
    return untestedBy([{ name: "r", filter: { $or: [{ a: value }] } }], [{ as: {} }])[0]?.branch;
  };
  expect(branchOf(400)).toHaveLength(400);
  expect(branchOf(401)).toMatch(/^.{399}…$/);
});
