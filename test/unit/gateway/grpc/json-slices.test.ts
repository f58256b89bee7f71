import fc from "fast-check";
import { expect, test } from "vitest";
import { elementsOf, membersOf } from "../../../../src/gateway/grpc/json-slices.ts";

test("takes an object apart into the texts of its values", () => {
  const text = String.raw`{"type":"added","doc":{"a":"x,}]\\","b":[{},"\""]},"n":12345678901234567890,"before":null}`;
  expect([...membersOf(text)]).toEqual([
    ["type", '"added"'],
    ["doc", String.raw`{"a":"x,}]\\","b":[{},"\""]}`],
    // Parsed, it would lose its last digits.
    ["n", "12345678901234567890"],
    ["before", "null"],
  ]);
});

test("takes an array apart into the texts of its elements", () => {
  expect(elementsOf('[{"_id":1,"tags":["a","b"]},{"_id":2},"]",7]')).toEqual([
    '{"_id":1,"tags":["a","b"]}',
    '{"_id":2}',
    '"]"',
    "7",
  ]);
});

test.each([["{}"], ["[]"]])("%s has no parts", (text) => {
  expect(text === "{}" ? [...membersOf(text)] : elementsOf(text)).toEqual([]);
});

test("any object and any array is put together from its parts again", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (object) => {
      const text = JSON.stringify(object);
      const members = [...membersOf(text)].map(([name, value]) => `${JSON.stringify(name)}:${value}`);
      expect(`{${members.join(",")}}`).toBe(text);
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), (array) => {
      const text = JSON.stringify(array);
      expect(`[${elementsOf(text).join(",")}]`).toBe(text);
    }),
  );
});
