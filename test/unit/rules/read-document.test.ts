import { expect, test } from "vitest";
import { encodeDocument } from "../../../src/match/encode.ts";
import { EVERYTHING } from "../../../src/match/projection.ts";
import { readDocument } from "../../../src/rules/read-document.ts";

test.each([
  '{"_id":1,"a":{"_bsontype":"ObjectId"}}',
  '{"_id":1,"_bsontype":"Long","a":[{"_bsontype":"x"}]}',
  '{"_id":1,"toBSON":"x","__proto__":{"b":1},"constructor":{"toJSON":1}}',
  '{"_id":{"$oid":"65a5b1c2d3e4f5a6b7c8d901"},"at":{"$date":"2026-05-04T12:00:00Z"}}',
])("the document %s is read as it was written", (text) => {
  const document = readDocument(JSON.parse(text));
  expect(document === undefined ? null : encodeDocument(document, EVERYTHING, "ejson")).toBe(text);
});

test.each(['{"a":{"$oid":"x"}}', '{"a":{"$date":"never"}}'])("%s is no document", (text) => {
  expect(readDocument(JSON.parse(text))).toBeUndefined();
});
