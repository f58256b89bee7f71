import { BSON, Long } from "mongodb";
import { describe, expect, test } from "vitest";
import { BSON_TYPE } from "../../../src/match/bson-value.ts";
import {
  arrayOf,
  bytesOf,
  documentOf,
  double,
  int32,
  int64,
  NULL,
  string,
} from "../../../src/match/write-bson.ts";

describe("documentOf", () => {
  test("writes what the driver's BSON library writes, for names of any letters and values of any length", () => {
    const long = "é".repeat(200);
    const document = documentOf([
      ["_id", int32(-7)],
      ["größe", double(0.1)],
      ["😀", int64(-(2n ** 62n))],
      ["", NULL],
      [long, string(long)],
      ["list", arrayOf([string("a"), documentOf([])])],
    ]);
    expect(Buffer.from(bytesOf(document))).toEqual(
      Buffer.from(
        BSON.serialize({
          _id: -7,
          größe: 0.1,
          "😀": Long.fromBigInt(-(2n ** 62n)),
          "": null,
          [long]: long,
          list: ["a", {}],
        }),
      ),
    );
  });

  test("copies a value out of the middle of other bytes, which it does not keep", () => {
    const bytes = Buffer.concat([Buffer.alloc(100), Buffer.from(bytesOf(string("abc"))), Buffer.alloc(100)]);
    const document = documentOf([["a", { type: BSON_TYPE.string, bytes, start: 100, end: 108 }]]);
    bytes.fill(1);
    expect(BSON.deserialize(bytesOf(document))).toEqual({ a: "abc" });
  });

  test("makes a row that keeps no more memory than its own bytes", () => {
    const row = bytesOf(
      documentOf([
        ["_id", string("open")],
        ["count", int32(3)],
      ]),
    );
    expect(row.buffer.byteLength).toBe(row.length);
  });
});

test("a number keeps its bytes when the next one is written", () => {
  const first = int32(1);
  int32(2);
  int64(3n);
  double(4);
  expect(Buffer.from(bytesOf(first)).readInt32LE()).toBe(1);
});
