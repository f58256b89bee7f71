import { expect, test } from "vitest";
import { collectionsText } from "../../../src/console/rules/collections-text.ts";

test("keeps the rules of a configuration, with everything that they refer to", () => {
  const secret = "$" + "{SECRET}";
  const text = `x-own: &own { a: "%%user.sub" }\nauth: { jwt: { secret: "${secret}" } }\ncollections:\n  orders: { rules: [{ name: r, filter: *own }] }\n`;
  expect(collectionsText(text)).toBe(
    'collections:\n  orders:\n    rules:\n      - name: r\n        filter:\n          a: "%%user.sub"\n',
  );
});

test("leaves any other text as it is", () => expect(collectionsText("orders: 1\n")).toBe("orders: 1\n"));
