import { expect, test } from "vitest";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { pathFault, walkFault } from "../../../src/match/paths.ts";
import { parseSort } from "../../../src/match/sort.ts";

const indexes = (count: number) => `a${".0".repeat(count)}.b`;

test("a path in a filter or a sort may have eight parts that may be indexes, and no more", () => {
  expect(walkFault(indexes(8))).toBeUndefined();
  expect(walkFault(indexes(9))).toMatch(/more than 8/);
  const refused = expect.objectContaining({ code: "bad-filter" });
  parseFilter({ [indexes(8)]: 1 }, { regex: "prefix" });
  expect(() => parseFilter({ [indexes(9)]: 1 }, { regex: "prefix" })).toThrow(refused);
  parseSort([[indexes(8), 1]], 32);
  expect(() => parseSort([[indexes(9), 1]], 32)).toThrow(refused);
});

test("all paths of a sort together may have eight parts that could be array indexes", () => {
  const refused = expect.objectContaining({ code: "bad-filter", details: { path: "b.0" } });
  parseSort(
    [
      [indexes(7), 1],
      ["b.0", 1],
      ["c.d", -1],
    ],
    32,
  );
  expect(() =>
    parseSort(
      [
        [indexes(8), 1],
        ["b.0", 1],
      ],
      32,
    ),
  ).toThrow(refused);
});

test("a part that begins with a zero is no index, and a projection may name any number of them", () => {
  expect(walkFault(`a${".00".repeat(20)}`)).toBeUndefined();
  expect(pathFault(indexes(20))).toBeUndefined();
});
