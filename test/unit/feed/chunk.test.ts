import { expect, test } from "vitest";
import { Chunk, headOf } from "../../../src/feed/chunk.ts";

const message = (type: string, rest: string, cursor?: string) => ({
  type,
  text: `${headOf(type)}${rest}}`,
  cursor,
  partial: cursor === "c1",
});
const chunk = () =>
  new Chunk([
    message("added", '"cursor":"c1","cause":"insert","doc":{"_id":1,"query":1,"type":"ä"}', "c1"),
    message("removed", '"cursor":"c2","cause":"delete","_id":{"query":1}', "c2"),
  ]);

test("a chunk bears the number of its connection, and is otherwise the same", () => {
  const base = chunk();
  const other = base.numbered(120);
  expect(other.messages.map(({ text }) => JSON.parse(text))).toEqual(
    base.messages.map(({ text }) => ({ ...JSON.parse(text), query: 120 })),
  );
  expect(other.messages.map(({ text: _, ...rest }) => rest)).toEqual(
    base.messages.map(({ text: _, ...rest }) => rest),
  );
  expect(other.cursor).toBe("c2");
  expect(other.size).toBe(base.size + 4);
});

test("connections that are served in one turn under one number share one chunk", () => {
  const base = chunk();
  expect(base.numbered(1)).toBe(base);
  expect(base.numbered(2)).toBe(base.numbered(2));
  expect(base.numbered(3)).not.toBe(base.numbered(2));
});
