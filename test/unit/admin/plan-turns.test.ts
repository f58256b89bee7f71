import { expect, test } from "vitest";
import { type EditProblems, PlanTurns } from "../../../src/admin/plan-edit.ts";
import { deferred } from "../../../src/feed/deferred.ts";

const STAYS = new AbortController().signal;

/** Plans that last until the test ends them. */
function startTurns() {
  const begun: string[] = [];
  const ends: ReturnType<typeof deferred>[] = [];
  const turns = new PlanTurns(async (text): Promise<EditProblems> => {
    begun.push(text);
    const end = deferred();
    ends.push(end);
    await end.promise;
    return { problems: [] };
  });
  return { turns, begun, ends };
}

test("one edit is planned at a time, the next one waits, and a third one is refused", async () => {
  const { turns, begun, ends } = startTurns();
  const first = turns.plan("first", STAYS);
  const second = turns.plan("second", STAYS);
  expect(await turns.plan("third", STAYS)).toBeNull();
  expect(begun).toEqual(["first"]);
  ends[0]?.resolve();
  expect(await first).toEqual({ problems: [] });
  await expect.poll(() => begun).toEqual(["first", "second"]);
  ends[1]?.resolve();
  expect(await second).toEqual({ problems: [] });
});

test("an edit whose sender has left is not planned, and the next one takes its turn", async () => {
  const { turns, begun, ends } = startTurns();
  const first = turns.plan("first", STAYS);
  const leaving = new AbortController();
  const second = turns.plan("second", leaving.signal);
  leaving.abort();
  expect(await second).toBeNull();
  const third = turns.plan("third", STAYS);
  ends[0]?.resolve();
  await first;
  await expect.poll(() => begun).toEqual(["first", "third"]);
  ends[1]?.resolve();
  expect(await third).toEqual({ problems: [] });
});

test("a plan ends when its sender leaves, and the next one takes its turn at once", async () => {
  const begun: string[] = [];
  const turns = new PlanTurns((text, gone) => {
    begun.push(text);
    if (text !== "first") return Promise.resolve({ problems: [] });
    return new Promise((_, reject) => gone?.addEventListener("abort", () => reject(gone.reason)));
  });
  const leaving = new AbortController();
  const first = turns.plan("first", leaving.signal);
  const second = turns.plan("second", STAYS);
  leaving.abort();
  expect(await first).toBeNull();
  expect(await second).toEqual({ problems: [] });
  expect(begun).toEqual(["first", "second"]);
});

test("an edit is planned after one that failed", async () => {
  const { turns, ends } = startTurns();
  const first = turns.plan("first", STAYS);
  const second = turns.plan("second", STAYS);
  ends[0]?.reject(new Error("a fault"));
  await expect(first).rejects.toThrow("a fault");
  await expect.poll(() => ends.length).toBe(2);
  ends[1]?.resolve();
  expect(await second).toEqual({ problems: [] });
});
