import { expect, test } from "vitest";
import { compileTemplate } from "../../../../src/cli/load/template.ts";

const NAMES = { i: "number", user: "text" } as const;
const fill = (template: unknown) => compileTemplate(template, NAMES, "filter")({ i: 23, user: "ada" });

test.each<[string, unknown]>([
  ["plain", "plain"],
  ["{{user}}", "ada"],
  ["{{i}}", 23],
  ["{{ i }}", 23],
  ["{{i % 10}}", 3],
  ["{{i%10}}", 3],
  ["{{i / 10}}", 2],
  ["{{i + 1}}", 24],
  ["{{i - 30}}", -7],
  ["{{i + 2 * 3 - 1}}", 28],
  ["{{2 * i % 10}}", 6],
  ["{{7}}", 7],
  ["t{{i % 10}}", "t3"],
  ["{{user}}-{{i}}", "ada-23"],
  ["a { b } c", "a { b } c"],
])("the text %j becomes %j", (template, value) => expect(fill(template)).toBe(value));

test("placeholders are filled at any depth, and other values remain as they are", () => {
  const template = { $or: [{ owner: "{{user}}" }, { n: { $in: [1, "{{i}}", null, true] } }], at: 2.5 };
  expect(fill(template)).toEqual({
    $or: [{ owner: "ada" }, { n: { $in: [1, 23, null, true] } }],
    at: 2.5,
  });
  expect(fill(undefined)).toBeUndefined();
});

test.each([
  ["{{usr}}", /filter: in \{\{usr\}\}, usr is unknown here\. Did you mean user\? Known: i, user/],
  ["{{}}", /a name is missing/],
  ["{{i %}}", /an operator lacks a value/],
  ["{{i ^ 2}}", /\^ is not an operator/],
  ["{{user + 1}}", /user is a text/],
  ["{{i % 0}}", /divides by 0/],
  ["{{i / 0}}", /divides by 0/],
  ["{{10 % i}}", /divides by i, which begins at 0/],
  ["{{1 + 10 / i}}", /divides by i, which begins at 0/],
  ["{{i", /has \{\{ or \}\} without the other/],
  ["i}}", /has \{\{ or \}\} without the other/],
  ["{{i + $}}", /\$ is neither a name nor a whole number/],
])("the text %j is refused, with what to do", (template, message) => {
  expect(() => fill(template)).toThrow(message);
  expect(() => compileTemplate({ a: [template] }, NAMES, "filter")).toThrow(/^filter\.a\[0\]: /);
});
