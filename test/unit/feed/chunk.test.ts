import { expect, test } from "vitest";
import { toChunks } from "../../../src/feed/catch-up-chunks.ts";
import { Chunk } from "../../../src/feed/chunk.ts";

const message = (text: string) => ({ type: "added", text, cursor: "c" });

test("a chunk is as large as its texts are on the wire", () => {
  expect(new Chunk([message('"é"'), message('"語"'), message('"😀"')]).size).toBe(4 + 5 + 6);
});

test("catch-up is cut by bytes, not by characters: what fits an outbox does so in every script", () => {
  const chunks = toChunks(Array.from({ length: 100 }, () => message("語".repeat(1_000))));
  expect(chunks.map(({ size }) => size)).toEqual(chunks.map(({ messages }) => messages.length * 3_000));
  expect(Math.max(...chunks.map(({ size }) => size))).toBeLessThanOrEqual(65_536);
  expect(chunks.flatMap(({ messages }) => messages)).toHaveLength(100);
});
