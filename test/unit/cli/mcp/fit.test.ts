import { expect, test } from "vitest";
import { fitText, fitValue, isTooDeep } from "../../../../src/cli/mcp/fit.ts";

test("leaves a value alone that fits exactly", () => {
  const value = { list: ["abc"] };
  const { length } = JSON.stringify(value);
  expect(fitValue(value, length)).toEqual({ value, isCut: false });
  expect(fitValue({ list: [value, value] }, length + 11)).toMatchObject({ isCut: true });
  expect(fitValue({ list: ["abc"] }, length - 1)).toBeNull();
});

test("keeps the first items and the beginning of strings, as many as fit", () => {
  const value = {
    kept: true,
    list: Array.from({ length: 1_000 }, (_, index) => index),
    text: "x".repeat(10_000),
  };
  const fitted = fitValue(value, 3_000);
  expect(fitted?.isCut).toBe(true);
  expect(fitted?.value.kept).toBe(true);
  expect(fitted?.value.list).toEqual(Array.from({ length: 100 }, (_, index) => index));
  expect(fitted?.value.text).toBe(`${"x".repeat(999)}…`);
});

test("cuts no character in halves", () => {
  expect(fitValue(["😀".repeat(5_000)], 4_100)?.value[0]).toMatch(/^(?:😀)+…$/u);
});

test("keeps every name of an object with few, and at least twenty of one with many", () => {
  const names = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`n${index}`, "x".repeat(100)]));
  expect(Object.keys(fitValue(names(20), 700)?.value ?? {})).toHaveLength(20);
  expect(Object.keys(fitValue(names(500), 1_000)?.value ?? {})).toHaveLength(20);
});

test("cuts a text at a line, and says how much is missing", () => {
  const text = Array.from({ length: 100 }, (_, index) => `line ${index}`).join("\n");
  expect(fitText(text, text.length)).toEqual({ value: text, isCut: false });
  const { value, isCut } = fitText(text, 300);
  expect(isCut).toBe(true);
  expect(value.length).toBeLessThanOrEqual(300);
  expect(value).toMatch(/line \d+\n… \d+ more characters\. Ask for less/);
});

test("accepts 100 levels and refuses 101, also of lists", () => {
  const nested = (levels: number, wrap: (inner: unknown) => unknown) => {
    let value: unknown = 1;
    for (let level = 0; level < levels; level += 1) value = wrap(value);
    return value;
  };
  for (const wrap of [(inner: unknown) => ({ a: inner }), (inner: unknown) => [inner]]) {
    expect(isTooDeep(nested(100, wrap))).toBe(false);
    expect(isTooDeep(nested(101, wrap))).toBe(true);
    expect(isTooDeep(nested(100_000, wrap))).toBe(true);
  }
});
