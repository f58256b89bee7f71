import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { rawField } from "../../../src/source/raw-field.ts";

/** The bytes that the driver sends for a command. */
const serialized = (command: object) => Buffer.from(BSON.serialize(command, { ignoreUndefined: true }));

const inner = BSON.serialize(
  new Map<string, unknown>([
    ["b", 2],
    ["1", 1],
    ["_bsontype", "x"],
  ]),
);

test.each(["filter", "$eq", "a", "", "schlüssel"])(
  "the driver writes the bytes under the name %j as they are",
  (name) => {
    const sent = serialized({ find: "things", ...rawField(name, inner), limit: 1 });
    const marker = { marker: 1 };
    const expected = serialized({ find: "things", [name]: marker, limit: 1 });
    // The same command but for the value.
    const value = Buffer.from(BSON.serialize(marker));
    const at = expected.indexOf(value);
    const parts = [expected.subarray(4, at), inner, expected.subarray(at + value.length)];
    expect(sent.subarray(4)).toEqual(Buffer.concat(parts));
    expect(sent.readInt32LE(0)).toBe(sent.length);
  },
);

test("a value of any type lies where it was put, at any depth", () => {
  const dbPointer = Buffer.concat([Buffer.from([2, 0, 0, 0]), Buffer.from("n\0"), Buffer.alloc(12, 7)]);
  const sent = serialized({ a: [{ filter: { _id: rawField("$eq", dbPointer, 12) } }] });
  expect(sent.includes(Buffer.concat([Buffer.from([12]), Buffer.from("$eq\0"), dbPointer]))).toBe(true);
});
