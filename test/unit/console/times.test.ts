import { expect, test } from "vitest";
import { ago } from "../../../src/console/ui/times.ts";

test.each([
  [0, "just now"],
  [41_900, "41 s ago"],
  [90_000, "1 min ago"],
  [-5_000, "just now"],
])("a time %i ms before now reads %s", (beforeMs, text) => {
  expect(ago("2026-01-02T03:04:05.000Z", Date.parse("2026-01-02T03:04:05.000Z") + beforeMs)).toBe(text);
});
