/** The section `sinks` of a configuration, and the live query that it asks for. */
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { parseConfig } from "../../../src/config/config.ts";

const to = {
  webhook: { url: "https://partner.example/", secret: `whsec_${Buffer.alloc(32).toString("base64")}` },
};

function problemsOf(sinks: Record<string, unknown>): string[] {
  const file = {
    mongodb: { uri: "mongodb://127.0.0.1/?replicaSet=rs", database: "shop" },
    auth: { anonymous: true },
    collections: { orders: { rules: [] } },
    sinks,
  };
  const parsed = parseConfig(stringify(file), "test.yaml", {});
  return parsed.ok ? [] : parsed.problems.map(({ path, message }) => `${path}: ${message}`);
}

test("a sink asks for a collection of the configuration", () => {
  expect(problemsOf({ late: { collection: "orders", to } })).toEqual([]);
  expect(problemsOf({ late: { collection: "order", to } })).toEqual([
    expect.stringMatching(
      /^sinks\.late\.collection: found order; allowed: a name of the section collections/,
    ),
  ]);
});

test("a sink takes the filters, fields and aggregates of a client, and reports what a client would be refused", () => {
  const sink = { collection: "orders", to };
  expect(
    problemsOf({ a: { ...sink, filter: { status: { $in: ["late"] } }, fields: { exclude: ["margin"] } } }),
  ).toEqual([]);
  expect(
    problemsOf({ a: { ...sink, aggregate: { by: ["status", "city"], values: { n: { count: true } } } } }),
  ).toEqual([]);
  expect(problemsOf({ a: { ...sink, filter: { $where: "1" } } })[0]).toMatch(/^sinks\.a\.filter: /);
  expect(problemsOf({ a: { ...sink, aggregate: { by: "a", order: 1 } } })[0]).toMatch(
    /^sinks\.a\.aggregate: /,
  );
  expect(problemsOf({ a: { ...sink, aggregate: {}, fields: { include: ["a"] } } })[0]).toMatch(
    /^sinks\.a\.aggregate: /,
  );
});

test("the name of a sink needs no escape in a path", () => {
  const sink = { collection: "orders", to };
  expect(problemsOf({ "late-orders_2": sink })).toEqual([]);
  for (const name of ["late/orders", "-late", "", "x".repeat(65)])
    expect(problemsOf({ [name]: sink })).not.toEqual([]);
});

test("a sink has exactly one target", () => {
  expect(problemsOf({ late: { collection: "orders", to: {} } })).not.toEqual([]);
});
