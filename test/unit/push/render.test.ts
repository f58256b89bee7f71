import { expect, test } from "vitest";
import { renderTexts, templateProblem } from "../../../src/push/render.ts";

const ORDER = {
  _id: "o1",
  status: "open",
  total: 12.5,
  paid: false,
  customer: { name: "Ada", address: { city: "London" } },
  tags: ["a", "b"],
  at: "2026-01-02T03:04:05.000Z",
  empty: null,
};

test("fills placeholders with the text of visible values", () => {
  const title =
    "{{customer.name}} ({{ customer.address.city }}): {{total}}, {{paid}}, {{tags}}, {{tags.1}}, {{at}}";
  expect(renderTexts({ title }, ORDER)).toEqual({
    title: "Ada (London): 12.5, false, a, b, b, 2026-01-02T03:04:05.000Z",
  });
});

test("missing, null and nested values, and names of the prototype, render as nothing", () => {
  const title =
    "<{{nothing}}{{empty}}{{customer}}{{customer.name.length}}{{constructor.name}}{{__proto__.x}}{{tags.length}}>";
  expect(renderTexts({ title }, ORDER)).toEqual({ title: "<>" });
});

test("values are text: braces in a value are no placeholder, and control characters are removed", () => {
  const document = { note: "{{secret}}\u0000\n\u0007$& $1", secret: "s", broken: "a\ud800b" };
  expect(renderTexts({ title: "{{note}}|{{broken}}" }, document)).toEqual({
    title: "{{secret}} $& $1|a\ufffdb",
  });
});

test("values in an address are percent-encoded, so that a document chooses neither its host nor its scheme", () => {
  const document = { id: "a/b?c#d", link: "javascript:alert(1)" };
  expect(renderTexts({ url: "/orders/{{id}}" }, document)).toEqual({ url: "/orders/a%2Fb%3Fc%23d" });
  expect(renderTexts({ url: "{{link}}" }, document)).toEqual({ url: "javascript%3Aalert(1)" });
});

test.each([
  ["a host after an empty part", "/{{team}}/{{id}}", { id: "evil.example" }],
  ["a host after an object", "/{{team}}/{{id}}", { team: {}, id: "evil.example" }],
  ["the host", "https://{{team}}.app.example/", { team: "evil" }],
  ["a part that leads up", "/orders/{{id}}/edit", { id: ".." }],
  ["a part that disappears", "/orders/{{id}}/edit", { id: "." }],
])("an address in which a document would choose %s is left out", (_name, url, document) => {
  expect(renderTexts({ url }, document)).toEqual({});
});

test.each([
  ["/orders/{{id}}", "/orders/"],
  ["/?order={{id}}", "/?order="],
  ["/#{{id}}", "/#"],
  ["https://app.example/{{id}}", "https://app.example/"],
])("an address %s without its last value leads to the same page", (url, expected) => {
  expect(renderTexts({ url }, {})).toEqual({ url: expected });
});

test("every text is bounded, on both sides of its limit", () => {
  const long = (size: number) => "x".repeat(size);
  expect(renderTexts({ title: "{{a}}" }, { a: long(200) }).title).toBe(long(200));
  expect(renderTexts({ title: "{{a}}" }, { a: long(201) }).title).toBe(`${long(199)}…`);
  expect(renderTexts({ title: long(256) }, {}).title).toBe(long(256));
  expect(renderTexts({ title: long(257) }, {}).title).toBe(`${long(253)}…`);
  expect(
    Buffer.byteLength(JSON.stringify(renderTexts({ body: '"'.repeat(500).repeat(3) }, {}).body)),
  ).toBeLessThan(1_030);
  expect(renderTexts({ url: `/${long(1_023)}` }, {}).url).toHaveLength(1_024);
  expect(renderTexts({ url: `/${long(1_024)}` }, {})).toEqual({});
});

test("braces that are no placeholder are a fault of the template", () => {
  expect(templateProblem("New order {{ _id }} for {{customer.name}}")).toBeNull();
  for (const text of ["{{", "a }} b", "{{a b}}", "{{}}", "{{a}"])
    expect(templateProblem(text), text).not.toBeNull();
});
