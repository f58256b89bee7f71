/** The memory of the encoder, which a catch-up used to let grow without a bound. */
import { BSON } from "mongodb";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { DocumentEncoder } from "../../../src/feed/document-encoder.ts";
import { EVERYTHING, includeProjection } from "../../../src/match/projection.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { usedBytes } from "../../support/used-bytes.ts";

const LIMIT = 1_048_576;
const document = (n: number, size = 10_000) => BSON.serialize({ _id: n, text: "x".repeat(size) });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a long catch-up is encoded with bounded memory", () => {
  const encoder = new DocumentEncoder(LIMIT, guardParts());
  // They stay, so that only what the encoder holds makes a difference.
  const documents = Array.from({ length: 4_000 }, (_, n) => document(n));
  const encodeAll = (mode: "json" | "ejson") =>
    Math.max(
      ...documents.map((one) => (encoder.encode(one, EVERYTHING, mode) === "" ? 0 : encoder.heldBytes)),
    );
  encodeAll("json");
  const before = usedBytes();
  expect(encodeAll("ejson")).toBeLessThanOrEqual(LIMIT);
  expect(usedBytes() - before).toBeLessThan(4 * LIMIT);
  expect(encoder.heldBytes).toBeGreaterThan(0);
  expect(documents).toHaveLength(4_000);
});

test("both sides of the limit: a text that fits is remembered, one byte more empties the memory, and a text that never fits is not kept", () => {
  const cost = 300 + 2 * 10_000;
  const encoder = new DocumentEncoder(100_000, guardParts());
  let count = 0;
  let last = 0;
  while (encoder.heldBytes >= last) {
    last = encoder.heldBytes;
    encoder.encode(document(count++), EVERYTHING, "json");
  }
  expect(count - 1).toBe(Math.floor(100_000 / cost));
  const held = encoder.heldBytes;
  encoder.encode(document(count), EVERYTHING, "json");
  expect(encoder.heldBytes).toBeGreaterThan(held);
  encoder.encode(document(0, 200_000), EVERYTHING, "json");
  expect(encoder.heldBytes).toBe(0);
});

test("a document is remembered by its fields and values alone, and counts once", () => {
  const encoder = new DocumentEncoder(LIMIT, guardParts());
  const one = document(1);
  const text = encoder.encode(one, EVERYTHING, "json");
  const held = encoder.heldBytes;
  expect(encoder.encode(one, EVERYTHING, "json")).toBe(text);
  expect(encoder.heldBytes).toBe(held);
  encoder.encode(one, EVERYTHING, "ejson");
  expect(encoder.heldBytes - held).toBeLessThan(held);
});

test("what is remembered is forgotten at the end of a batch, or soon after a catch-up", () => {
  const encoder = new DocumentEncoder(LIMIT, guardParts());
  encoder.encode(document(1), EVERYTHING, "json");
  encoder.forget();
  expect(encoder.heldBytes).toBe(0);
  encoder.encode(document(2), EVERYTHING, "json");
  vi.advanceTimersByTime(99);
  expect(encoder.heldBytes).toBeGreaterThan(0);
  vi.advanceTimersByTime(1);
  expect(encoder.heldBytes).toBe(0);
});

test("the bound holds however many projections clients choose, and every text is right", () => {
  const encoder = new DocumentEncoder(LIMIT, guardParts());
  const one = BSON.serialize({ _id: 1, text: "x".repeat(8_000) });
  const sizes: number[] = [];
  for (let n = 0; n < 400; n++) {
    // It shows the same as all others of its kind, and is not equal to them.
    const text = encoder.encode(one, includeProjection(["text", `no${n}`]), "json");
    expect(text).toBe(`{"_id":1,"text":"${"x".repeat(8_000)}"}`);
    sizes.push(encoder.heldBytes);
  }
  expect(Math.max(...sizes)).toBeLessThanOrEqual(LIMIT);
  expect(Math.max(...sizes)).toBeGreaterThan(LIMIT - 10_000);
});
