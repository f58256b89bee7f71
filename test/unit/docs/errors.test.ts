/** docs/errors.md and the tables in the code are equal, both ways. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { actionFor } from "../../../src/client/reconnect.ts";
import { CLOSE_CODES } from "../../../src/protocol/close-codes.ts";
import { ERROR_CODES } from "../../../src/protocol/errors.ts";
import { HTTP_STATUS } from "../../../src/protocol/http-status.ts";
import { ROOT } from "../../support/build.ts";

const page = readFileSync(join(ROOT, "docs", "errors.md"), "utf8");

test("the page has an entry per error code, in the table's order, with its status and its advice", () => {
  const entries = page.split(/^### /m).slice(1);
  const told = entries.map((entry) => {
    const [, name, status, retry] = /^([a-z-]+)\n\nHTTP (\d+) · retry (\w+)/.exec(entry) ?? [];
    return [name, { retry, httpStatus: Number(status) }];
  });
  const table = Object.entries(ERROR_CODES).map(([name, retry]) => [
    name,
    { retry, httpStatus: HTTP_STATUS[name as keyof typeof ERROR_CODES] }, // the keys of the table
  ]);
  expect(told).toEqual(table);
});

test("the page has a row per close code, in order", () => {
  const rows = Array.from(page.matchAll(/^\| (\d{4}) \| (\w+) \|/gm), ([, code, name]) => [
    name,
    Number(code),
  ]);
  const table = Object.entries(CLOSE_CODES).sort(([, a], [, b]) => a - b);
  expect(rows).toEqual(table);
});

test("the ranges of the page are those that clients go by", () => {
  const actions = { "backs off": "back-off", "gets a": "token", waits: "wait", stops: "stop" } as const;
  const ranges = Array.from(page.matchAll(/^\| (4\d{3})–(4\d{3}) \| (backs off|gets a|waits|stops)/gm));
  expect(ranges).toHaveLength(4);
  for (const [, from, to, words] of ranges) {
    const action = actions[words as keyof typeof actions]; // one of the alternatives above
    expect([actionFor(Number(from)), actionFor(Number(to))]).toEqual([action, action]);
  }
});

test("every close code and every error code is sent by some code of the service", () => {
  const files = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" });
  const code = files
    .filter((file) => file.endsWith(".ts") && !/^(?:protocol|client)\b/.test(file))
    .map((file) => readFileSync(join(ROOT, "src", file), "utf8"))
    .join("\n");
  const unsent = [
    ...Object.keys(CLOSE_CODES).filter((name) => !new RegExp(`CLOSE_CODES\\.${name}\\b`).test(code)),
    ...Object.keys(ERROR_CODES).filter((name) => !code.includes(`"${name}"`)),
  ];
  expect(unsent).toEqual([]);
});
