import { availableParallelism } from "node:os";
import { expect, test } from "vitest";
import { workersOf } from "../../../src/cluster/primary.ts";
import { parseConfig } from "../../../src/config/config.ts";

const parse = (workers: string) =>
  parseConfig(
    `mongodb: { database: shop }
auth: { anonymous: true }
collections: { items: { rules: [{ name: everyone, anonymous: true }] } }
server: { ${workers} }`,
    "tidewire.yaml",
    {},
  );

test.each([
  ["", 1],
  ["workers: 1", 1],
  ["workers: 256", 256],
  ["workers: auto", availableParallelism()],
])("`%s` means %i processes", (text, count) => {
  const parsed = parse(text);
  expect(parsed.ok && workersOf(parsed.config.server)).toBe(count);
});

test.each(["workers: 0", "workers: 257", "workers: 1.5", "workers: all"])("refuses `%s`", (text) => {
  expect(parse(text)).toMatchObject({
    ok: false,
    problems: [
      {
        line: 4,
        path: "server.workers",
        message: expect.stringMatching(
          /^found .*; allowed: a whole number, from 1 to 256; or auto\. Write for example `workers: 1`$/,
        ),
      },
    ],
  });
});
