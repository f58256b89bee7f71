import { expect, test } from "vitest";
import { cutChunk, type NextChunk, toChunks } from "../../../src/feed/catch-up-chunks.ts";
import { type EncodedMessage, headOf } from "../../../src/feed/chunk.ts";
import type { LogEntry } from "../../../src/feed/log-entry.ts";
import { runThrough } from "../../../src/match/steps.ts";

/** The smallest outbox that `limits.outboxBytes` allows. With less room for each chunk, a catch-up would never advance. */
const SMALLEST_OUTBOX = 65_536;
const LARGEST_NUMBER = 999_999_999;

const message = (bytes: number): EncodedMessage => {
  const head = headOf("added");
  return { type: "added", text: head.padEnd(bytes, "x"), cursor: undefined };
};

/** Messages whose texts have together exactly the size at which chunks were cut before numbers were counted. */
const MESSAGES = Array.from({ length: 4 * 512 }, () => message(SMALLEST_OUTBOX / 512));

test("a chunk of a catch-up fits into the smallest outbox, whatever number the live query has on the connection", () => {
  const entry = { seq: 1, changes: [] } as unknown as LogEntry;
  let sent = 0;
  for (let position = { after: 0, written: 0 }; position.after < 1; ) {
    const next = cutChunk([entry], position, () => MESSAGES) as NextChunk;
    expect(next.chunk.numbered(LARGEST_NUMBER).size).toBeLessThanOrEqual(SMALLEST_OUTBOX);
    sent += next.chunk.messages.length;
    position = next;
  }
  expect(sent).toBe(MESSAGES.length);
});

test("a chunk of messages from the oplog or of a difference fits as well", () => {
  const chunks = runThrough(toChunks(MESSAGES));
  for (const chunk of chunks)
    expect(chunk.numbered(LARGEST_NUMBER).size).toBeLessThanOrEqual(SMALLEST_OUTBOX);
  expect(chunks.flatMap((chunk) => chunk.messages)).toHaveLength(MESSAGES.length);
  expect(chunks.length).toBeLessThan(8);
});
