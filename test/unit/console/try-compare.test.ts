import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import {
  compareDocuments,
  differenceText,
  differingFields,
  type Outcome,
} from "../../../src/console/try/compare.ts";
import { testOf, withTest } from "../../../src/console/try/rule-test.ts";

const documents = (ids: readonly number[], hasMore = false, more: object = {}) => ({
  shown: ids.map((_id) => ({ _id, ...more })),
  hasMore,
});

const marks = (...sides: Parameters<typeof compareDocuments>) =>
  compareDocuments(...sides).map(({ key, mark }) => `${key} ${mark}`);

describe("documents of two outcomes", () => {
  test("come in their common order, with what differs", () => {
    const rows = compareDocuments(documents([1, 2, 4]), documents([2, 3, 4, 5], false));
    expect(rows.map(({ key, mark }) => `${key} ${mark}`)).toEqual([
      "1 only-in-force",
      "2 same",
      "3 only-draft",
      "4 same",
      "5 only-draft",
    ]);
    expect(differenceText(rows)).toBe("2 documents more, 1 document fewer");
    expect(differenceText(compareDocuments(documents([1]), documents([1], false, { a: 1 })))).toBe(
      "1 document with other fields",
    );
    expect(differenceText(compareDocuments(documents([1]), documents([1])))).toBeNull();
  });

  test("a document is only undecided if the other list ends before it", () => {
    expect(marks(documents([1, 2, 3], true), documents([1], true))).toEqual([
      "1 same",
      "2 undecided",
      "3 undecided",
    ]);
    expect(marks(documents([1, 2, 3], true), documents([1, 9], true))).toEqual([
      "1 same",
      "2 only-in-force",
      "3 only-in-force",
      "9 undecided",
    ]);
    const ids = (of: readonly unknown[]) => ({ shown: of.map((_id) => ({ _id })), hasMore: true });
    expect(marks(ids(["a"]), ids(["b"]))).toEqual(['"a" only-in-force', '"b" undecided']);
    expect(marks(ids([{ $oid: "0a" }]), ids(["b"]))).toEqual(['{"$oid":"0a"} undecided', '"b" only-draft']);
    expect(marks(ids([{ $date: "x" }]), ids([1]))).toEqual(['{"$date":"x"} undecided', "1 undecided"]);
    expect(marks(documents([1, 2]), null)).toEqual(["1 only-in-force", "2 only-in-force"]);
    expect(marks(null, documents([]))).toEqual([]);
  });

  test("fields that one document lacks, or has with another value, differ", () => {
    expect([...differingFields({ a: 1, b: 2, c: [1] }, { a: 1, b: 3 })]).toEqual(["b", "c"]);
    expect([...differingFields({ a: 1 }, null)]).toEqual([]);
  });
});

const outcome = (more: Partial<Outcome> = {}): Outcome => ({
  outcome: "allowed",
  reason: null,
  rules: [],
  query: {
    rule: "own",
    namespace: "db.orders",
    filter: "{}",
    fields: null,
    aggregate: null,
    snapshotAllowed: true,
  },
  documents: null,
  document: null,
  note: null,
  given: null,
  ...more,
});

const judged = (visible: boolean, hiddenFields: string[] = []) => ({
  found: true,
  visible,
  because: "",
  decided: null,
  stored: { _id: 7, margin: 1 },
  shown: visible ? { _id: 7 } : null,
  hiddenFields,
});

const ADA = { claims: { sub: "ada" }, collection: "orders" };

describe("a rule test of an outcome", () => {
  test("expects the rule, and the document with its hidden fields, given what lookups read", () => {
    const given = { members: [{ user: "ada" }] };
    expect(
      testOf({ ...ADA, filter: { a: 1 } }, outcome({ document: judged(true, ["margin"]), given })),
    ).toEqual({
      name: "ada sees 7 of orders",
      as: { sub: "ada" },
      collection: "orders",
      filter: { a: 1 },
      given,
      rule: "own",
      documents: [{ visible: { _id: 7, margin: 1 }, without: ["margin"] }],
    });
    expect(testOf(ADA, outcome({ document: judged(false), given: {} }))).toEqual({
      name: "ada does not see 7 of orders",
      as: { sub: "ada" },
      collection: "orders",
      rule: "own",
      documents: [{ hidden: { _id: 7, margin: 1 } }],
    });
  });

  test("expects a refusal, also of an anonymous user; a malformed request has no test", () => {
    const refused = { query: null, outcome: "unknown-collection" };
    expect(testOf({ claims: null, collection: "orders" }, outcome(refused))).toEqual({
      name: "an anonymous user may not follow orders",
      anonymous: true,
      collection: "orders",
      expect: "forbidden",
    });
    expect(testOf(ADA, outcome({ ...refused, outcome: "bad-filter" }))).toBeNull();
  });

  test("has the claims of a connection, and there is none if they are redacted", () => {
    const request = { connection: "id", collection: "orders" };
    const user = { sub: "ada", claims: { sub: "ada" }, redacted: false };
    expect(testOf(request, outcome({}), user)).toMatchObject({ as: { sub: "ada" } });
    expect(testOf(request, outcome({}), { ...user, sub: null, claims: null })).toMatchObject({
      anonymous: true,
    });
    expect(testOf(request, outcome({}), { ...user, claims: null, redacted: true })).toBeNull();
  });
});

describe("a test is added", () => {
  const draft = {
    name: "r.yaml",
    base: "",
    text: "collections: {}\n",
    tests: "",
    baseTests: "",
    parent: null,
    message: "",
  };

  test("to the file of tests, whose comments stay", () => {
    const first = withTest(draft, { name: "a" });
    expect(parse(first?.tests ?? "")).toEqual({ tests: [{ name: "a" }] });
    const second = withTest(
      { ...draft, tests: "# why\nnow: 2026-01-01T00:00:00Z\ntests:\n  - name: a # this\n" },
      { name: "b" },
    );
    expect(second?.tests).toMatch(/# why[\s\S]*# this/);
    expect(parse(second?.tests ?? "").tests).toEqual([{ name: "a" }, { name: "b" }]);
    expect(second?.text).toBe(draft.text);
  });

  test("to the text of the draft if it has tests of its own, and nowhere if the tests cannot be read", () => {
    const own = withTest({ ...draft, text: "collections: {}\ntests: [{ name: a }]\n" }, { name: "b" });
    expect(parse(own?.text ?? "").tests).toEqual([{ name: "a" }, { name: "b" }]);
    expect(own?.tests).toBe("");
    expect(withTest({ ...draft, tests: "tests: [" }, { name: "b" })).toBeNull();
    expect(withTest({ ...draft, tests: "tests: 3" }, { name: "b" })).toBeNull();
  });
});
