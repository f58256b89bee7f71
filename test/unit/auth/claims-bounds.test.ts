import { expect, test } from "vitest";
import { claimsFault } from "../../../src/auth/claims-bounds.ts";

const limits = { claimsBytes: 1_000, claimsDepth: 4, claimsValues: 20 };
const fault = (claims: object, bytes = 0) => claimsFault(claims, bytes, limits);
const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);

test("takes claims at each limit, and refuses them one beyond it", () => {
  expect(fault({}, 1_000)).toBeUndefined();
  expect(fault({}, 1_001)).toBe("claims-bytes");
  // The payload is the first level, so that three lists may stand in it.
  expect(fault({ a: nested(3) })).toBeUndefined();
  expect(fault({ a: nested(4) })).toBe("claims-depth");
  expect(fault({ a: { b: { c: {} } } })).toBeUndefined();
  expect(fault({ a: { b: { c: { d: {} } } } })).toBe("claims-depth");
  expect(fault({ list: Array(19).fill(0) })).toBeUndefined();
  expect(fault({ list: Array(20).fill(0) })).toBe("claims-values");
  expect(fault(Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`k${i}`, i])))).toBeUndefined();
  expect(fault(Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`k${i}`, i])))).toBe("claims-values");
});

test("nesting of 100,000 levels does not exhaust the stack", () => {
  const text = `{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
  const deep = JSON.parse(text) as object;
  expect(
    claimsFault(deep, 0, { claimsBytes: 1, claimsDepth: 2_000_000, claimsValues: 2_000_000 }),
  ).toBeUndefined();
  expect(fault(deep)).toBe("claims-depth");
});

test.each([
  ["a NUL in a key", '{"a\\u0000b":1}'],
  ["a NUL in a key of a list's object", '{"a":[{"\\u0000":1}]}'],
  ["a lone surrogate in a key", '{"\\ud800":1}'],
  ["a lone surrogate in a text", '{"sub":"u\\udfff"}'],
  ["a lone surrogate in a list", '{"groups":["a",["\\ud83d"]]}'],
  ["a number beyond every double", '{"level":1e400}'],
  ["a negative one", '{"a":{"level":-1e400}}'],
  ["an exp that is not the token's own", '{"a":{"exp":1e400}}'],
])("refuses %s", (_name, text) => {
  expect(fault(JSON.parse(text))).toBe("claims-unusable");
});

test.each([
  ["a NUL in a text", '{"a":"\\u0000"}'],
  ["a key with a dot or a dollar", '{"https://example.com/roles":1,"$gt":2,"a.b":3,"":4}'],
  ["__proto__ and constructor", '{"__proto__":{"admin":true},"constructor":1,"_bsontype":"ObjectId"}'],
  ["a pair of surrogates", '{"name":"\\ud83d\\ude00"}'],
  ["the largest double and minus zero", '{"a":1.7976931348623157e308,"b":-0,"c":5e-324}'],
  ["null, booleans and duplicate keys", '{"a":null,"b":true,"b":false}'],
  ["times of the token that are judged by themselves", '{"exp":1e400,"nbf":-1e400,"iat":1}'],
])("takes %s", (_name, text) => {
  expect(fault(JSON.parse(text))).toBeUndefined();
});
