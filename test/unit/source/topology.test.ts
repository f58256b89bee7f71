import { expect, test } from "vitest";
import { serverProblems } from "../../../src/source/topology.ts";

test.each(["5.0.0", "6.0.5", "8.2.0"])("a replica set of version %s has no problem", (version) => {
  const server = { version, major: Number.parseInt(version, 10), topology: "replica set" } as const;
  expect(serverProblems(server)).toEqual([]);
});

test.each(["4.4.29", "3.6.0", "unknown"])(
  "version %s is refused, and the text names what is needed",
  (version) => {
    const server = { version, major: Number.parseInt(version, 10), topology: "replica set" } as const;
    expect(serverProblems(server)).toEqual([
      `MongoDB ${version} is too old: 5.0 or newer is needed. Upgrade the server.`,
    ]);
  },
);

test("an old standalone hears of both", () => {
  expect(serverProblems({ version: "4.4.1", major: 4, topology: "standalone" })).toHaveLength(2);
});
