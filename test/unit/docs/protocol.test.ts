/** docs/protocol.md and the code agree: every message has its entry, and every example is one. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ERROR_CODES } from "../../../src/protocol/errors.ts";
import { ROOT } from "../../support/build.ts";
import { parseText } from "../../support/parse-text.ts";

const page = readFileSync(join(ROOT, "docs", "protocol.md"), "utf8");
const types = readFileSync(join(ROOT, "src", "protocol", "messages.ts"), "utf8");

/** The members of a union of message interfaces, by their `type`. */
function membersOf(union: string): Map<string, readonly string[]> {
  const [, list = ""] = new RegExp(`export type ${union} =([^;]+);`).exec(types) ?? [];
  return new Map(
    Array.from(list.matchAll(/\w+/g), ([name]) => {
      const [, body = ""] = new RegExp(`export interface ${name} \\{([\\s\\S]*?)\\n\\}`).exec(types) ?? [];
      const [, type = ""] = /type: "(\w+)";/.exec(body) ?? [];
      return [type, Array.from(body.matchAll(/^ {2}(\w+)\??:/gm), ([, field = ""]) => field)] as const;
    }),
  );
}

const CLIENT = membersOf("ClientMessage");
const SERVER = membersOf("ServerMessage");

const entries = page
  .slice(page.indexOf("### 3.1"), page.indexOf("### 3.3"))
  .split(/^#### /m)
  .slice(1)
  .map((text) => {
    const [, type = "", from] = /^`(\w+)`\n\n(client → service|service → client)\n/.exec(text) ?? [];
    const examples = Array.from(text.matchAll(/```json\n([\s\S]*?)```/g), ([, json = ""]) =>
      JSON.parse(json),
    );
    return { type, from, examples, text };
  });

test("every message has an entry with its direction, and there is no other", () => {
  const told = (direction: string) =>
    entries.filter(({ from }) => from === direction).map(({ type }) => type);
  expect(told("client → service").sort()).toEqual([...CLIENT.keys()].sort());
  expect(told("service → client").sort()).toEqual([...SERVER.keys()].sort());
});

test.each(entries)(
  "the examples of $type are such messages, with no field that there is not",
  ({ type, from, examples }) => {
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) {
      expect(example.type).toBe(type);
      if (from === "client → service") expect(parseText(JSON.stringify(example))).toEqual(example);
      const fields = (from === "client → service" ? CLIENT : SERVER).get(type) ?? [];
      expect(Object.keys(example).filter((field) => !fields.includes(field))).toEqual([]);
    }
  },
);

test.each(entries)("the page describes every field of $type", ({ type, from, text }) => {
  const fields = (from === "client → service" ? CLIENT : SERVER).get(type) ?? [];
  // The page describes fields of every change, or of every message, once.
  const shared = ["type", "query", "cursor", "doc", "cause", "before", "id", "docs"];
  expect(fields.filter((field) => !shared.includes(field) && !text.includes(field))).toEqual([]);
});

test("the conversations are numbered, and made of messages that there are", () => {
  const lines = Array.from(page.matchAll(/^(\d+) ([→←]) (\{.*\})$/gm));
  expect(lines.length).toBeGreaterThan(20);
  let last = 0;
  for (const [, number, direction, text = ""] of lines) {
    last = Number(number) === 1 ? 1 : last + 1;
    expect(Number(number), text).toBe(last);
    const message = JSON.parse(text);
    if (direction === "→") expect(parseText(text), text).toEqual(message);
    const fields = (direction === "→" ? CLIENT : SERVER).get(message.type) ?? [];
    expect(
      Object.keys(message).filter((field) => !fields.includes(field)),
      text,
    ).toEqual([]);
    if (message.type === "error") expect(ERROR_CODES).toHaveProperty([message.code]);
  }
});
