/** Rules asked with claims of any shape: whatever a token says, a user is let in, refused, or the sets are asked for. */
import { expect, test } from "vitest";
import { claimsFault } from "../../src/auth/claims-bounds.ts";
import { JwtOptions } from "../../src/auth/options.ts";
import { Collections, Limits } from "../../src/config/config-schema.ts";
import { TidewireError } from "../../src/protocol/errors.ts";
import { authorize } from "../../src/rules/authorize.ts";
import { LookupsNeeded } from "../../src/rules/bind-rule.ts";
import { compileRules } from "../../src/rules/compile-rules.ts";
import { Random } from "../support/random.ts";
import { FUZZ_FACTOR, startSeed } from "./seed.ts";

const PATHS = ["sub", "roles", "org.id", "a.b.c", "__proto__.admin", "constructor", "n", "toString.length"];
const PLACEHOLDERS = PATHS.flatMap((path) => [
  `%%user.${path}`,
  `%%oid:user.${path}`,
  `%%date:user.${path}`,
  `%%words:user.${path}`,
  `%%user["a.b"].${path}`,
]);
const limits = JwtOptions.parse({ algorithms: ["HS256"], secret: "x".repeat(32) });

function randomJson(random: Random, depth: number): string {
  const scalars = [
    () => random.pick(["null", "true", "-0", "0", "1e400", "-1e400", "1e308", "9007199254740993", "5e-324"]),
    () => JSON.stringify(random.pick(["", "u1", "\0", "\ud800", "😀", "$gt", "2024-02-30", "-000001-01-01"])),
    () =>
      JSON.stringify(random.pick(["65a5b1c2d3e4f5a6b7c8d901", "275760-09-13T00:00:00.001Z", "%%user.sub"])),
    () => String(random.int(0, 2 ** 31)),
  ];
  if (depth === 0 || random.chance(0.5)) return random.pick(scalars)();
  const size = random.int(0, 4);
  if (random.chance(0.5)) {
    return `[${Array.from({ length: size }, () => randomJson(random, depth - 1)).join()}]`;
  }
  const key = () =>
    JSON.stringify(
      random.pick([
        "sub",
        "roles",
        "org",
        "id",
        "a",
        "b",
        "c",
        "n",
        "__proto__",
        "$in",
        "a.b",
        "\0",
        "\udc00",
        "_bsontype",
      ]),
    );
  return `{${Array.from({ length: size }, () => `${key()}:${randomJson(random, depth - 1)}`).join()}}`;
}

/** Claims as an issuer writes them: with random values alone, hardly a trial gets past a rule's `when` and placeholders. */
const ORDINARY = '{"sub":"u1","roles":["a"],"org":{"id":"u1"},"a":{"b":{"c":1}},"n":1}';

/** Ordinary claims, random ones, and now and then what no issuer would write: far too deep, or far too many. */
function randomClaims(random: Random): string {
  if (random.chance(0.2)) return ORDINARY;
  const extra = random.pick([
    ...Array.from({ length: 20 }, () => () => ""),
    () => `,"roles":${"[".repeat(20_000)}${"]".repeat(20_000)}`,
    () => `,"n":${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}`,
    () => `,"roles":[${"1,".repeat(50_000)}1]`,
  ])();
  const members = PATHS.slice(0, random.int(0, 8)).map(
    (path) => `${JSON.stringify(path.split(".")[0])}:${randomJson(random, 4)}`,
  );
  return `{"x":1${members.map((member) => `,${member}`).join("")}${extra}}`;
}

function randomRules(random: Random) {
  // Half of them are ordinary, so that some rules get as far as their lookups.
  const placeholder = () => (random.chance(0.5) ? "%%user.sub" : random.pick(PLACEHOLDERS));
  const literal = () => random.pick([1, "u1", null, true, ["a"], -0]);
  const rule = (index: number) => {
    const operator = random.pick(["$eq", "$gt", "$in", "$exists", "$ne", "$size", "$all", "$elemMatch"]);
    const operand = { $in: ["a", 1], $exists: true, $size: 1, $all: ["a"], $elemMatch: { $eq: 1 } }[
      operator as "$in"
    ];
    const when = { [`%%user.${random.pick(PATHS)}`]: { [operator]: operand ?? literal() } };
    const filter = random.pick([
      { owner: placeholder() },
      { rooms: { $in: placeholder() } },
      { at: { $gt: random.pick(["%%now", placeholder()]) } },
      { $or: [{ a: placeholder() }, { b: { $nin: placeholder() } }] },
      { room: { $in: "%%lookup.rooms" } },
    ]);
    return { name: `r${index}`, ...(random.chance(0.7) ? { when } : {}), filter };
  };
  return compileRules({
    mongodb: { database: "shop" },
    collections: Collections.parse({
      orders: {
        lookups: {
          rooms: { collection: "members", filter: { user: placeholder() }, value: "room" },
        },
        rules: Array.from({ length: random.int(1, 3) }, (_, index) => rule(index)),
      },
    }),
    limits: Limits.parse({}),
  });
}

const seed = startSeed("claims");

test("whatever a token says, authorize lets in or refuses with a TidewireError, and verified claims break no rule", () => {
  const random = new Random(seed);
  const outcomes = new Map<string, number>();
  for (let trial = 0; trial < 1_000 * FUZZ_FACTOR; trial++) {
    const text = randomClaims(random);
    const claims = JSON.parse(text) as Record<string, unknown>;
    const fault = claimsFault(claims, text.length, limits);
    const rules = randomRules(random);
    let outcome = "allowed";
    try {
      authorize(rules, { claims }, { collection: "orders", filter: { status: "open" } }, Date.now());
    } catch (error) {
      if (error instanceof LookupsNeeded) outcome = "lookups";
      else if (error instanceof TidewireError)
        outcome = error.cause instanceof Error ? error.cause.name : error.code;
      else expect.fail(`${String(error)} for ${text.slice(0, 500)}`);
    }
    // Claims that pass the verification never make a rule fail.
    if (fault === undefined) expect(outcome, text.slice(0, 500)).not.toBe("RuleFailure");
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  // The samples reach every way.
  expect([...outcomes.keys()].sort()).toEqual(
    expect.arrayContaining(["ClaimRefused", "RuleFailure", "allowed", "lookups"]),
  );
});
