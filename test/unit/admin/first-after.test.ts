import fc from "fast-check";
import { expect, test } from "vitest";
import { firstAfter } from "../../../src/admin/first-after.ts";

test("a page is the beginning of the sorted list after a key, for any list", async () => {
  const text = fc.string({ maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(text),
      fc.option(text, { nil: undefined }),
      fc.integer({ min: 1, max: 5 }),
      async (keys, after, limit) => {
        const isWanted = (key: string) => key.length !== 1;
        const sorted = keys.filter((key) => isWanted(key) && (after === undefined || key > after)).sort();
        const found = await firstAfter(keys, (key) => key, { after, limit }, isWanted);
        expect(found).toEqual(sorted.slice(0, limit));
      },
    ),
  );
});

test("other work runs while many items are searched", async () => {
  let isOver = false;
  let turns = 0;
  const count = () => {
    turns++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const slow = function* () {
    for (let index = 0; index < 5; index++) {
      const untilMs = performance.now() + 6;
      while (performance.now() < untilMs);
      yield String(index);
    }
  };
  await firstAfter(
    slow(),
    (key) => key,
    { after: undefined, limit: 1 },
    () => true,
  );
  isOver = true;
  expect(turns).toBeGreaterThan(2);
});
