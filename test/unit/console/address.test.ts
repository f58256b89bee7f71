import { expect, test } from "vitest";
import { hrefOf, parseRoute } from "../../../src/console/shell/address.ts";

test.each([
  ["", { view: "", fields: {} }],
  ["#/", { view: "", fields: {} }],
  ["#/rules", { view: "rules", fields: {} }],
  ["#/connections?sub=a%26b&address=", { view: "connections", fields: { sub: "a&b", address: "" } }],
])("reads the address %s", (hash, route) => expect(parseRoute(hash)).toEqual(route));

test("an address that was written reads the same, without empty fields", () => {
  const href = hrefOf("connections", { sub: "<b>?&", address: "" });
  expect(parseRoute(href)).toEqual({ view: "connections", fields: { sub: "<b>?&" } });
  expect(hrefOf("rules")).toBe("#/rules");
});
