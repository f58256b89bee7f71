import { expect, test } from "vitest";
import { canonicalProjection, includeProjection } from "../../../src/match/projection.ts";
import { sharedProjection } from "../../../src/rules/shared-projection.ts";

const shared = (...paths: string[]) => {
  const projection = includeProjection(paths);
  return sharedProjection(projection, canonicalProjection(projection));
};

test("equal projections share one object, and different projections do not", () => {
  const one = shared("a.b", "c");
  expect(shared("c", "a.b")).toBe(one);
  expect(shared("c", "a")).not.toBe(one);
});
