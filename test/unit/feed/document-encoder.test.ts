import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { DocumentEncoder } from "../../../src/feed/change.ts";
import { includeProjection } from "../../../src/match/projection.ts";

const document = BSON.serialize({ _id: 1, text: "x".repeat(80) });
/** A projection that shows the same as all others of its kind, and is not equal to them. */
const projection = (n: number) => includeProjection(["text", `no${n}`]);
const TEXT = `{"_id":1,"text":"${"x".repeat(80)}"}`;

test("keeps the text of a document for live queries with equal projections", () => {
  const encoder = new DocumentEncoder();
  for (let i = 0; i < 3; i++) expect(encoder.encode(document, projection(0), "json")).toBe(TEXT);
  expect(encoder.kept).toBe(TEXT.length);
});

test("keeps texts up to its bound and never more, however many projections clients choose", () => {
  const bound = 10 * TEXT.length;
  const encoder = new DocumentEncoder(bound);
  const sizes: number[] = [];
  for (let i = 0; i < 35; i++) {
    expect(encoder.encode(document, projection(i), "json")).toBe(TEXT);
    sizes.push(encoder.kept);
  }
  expect(Math.max(...sizes)).toBe(bound);
});

test("encodes a document that is larger than its bound, and keeps nothing of it", () => {
  const encoder = new DocumentEncoder(TEXT.length - 1);
  expect(encoder.encode(document, projection(0), "json")).toBe(TEXT);
  expect(encoder.kept).toBe(0);
});

test("keeps nothing once its batch has ended", () => {
  const encoder = new DocumentEncoder();
  encoder.encode(document, projection(0), "json");
  encoder.forget();
  expect(encoder.kept).toBe(0);
});
