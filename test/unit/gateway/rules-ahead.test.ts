import { expect, test } from "vitest";
import { RulesAhead } from "../../../src/gateway/rights/rules-ahead.ts";
import { recordingLog } from "../../support/node.ts";

function rulesAhead(setAt: (clusterTime: bigint) => number | null) {
  const read: bigint[] = [];
  const { log } = recordingLog();
  const ahead = new RulesAhead(
    4,
    async (clusterTime) => {
      read.push(clusterTime);
      return setAt(clusterTime);
    },
    log,
  );
  return { ahead, read };
}

test("one read answers all questions of a turn, and no read answers for an earlier time", async () => {
  const { ahead, read } = rulesAhead(() => 4);
  expect(await Promise.all([5n, 9n, 7n].map((time) => ahead.areSameAt(time)))).toEqual([true, true, true]);
  expect(await ahead.areSameAt(8n)).toBe(true);
  expect(read).toEqual([9n]);
  expect(await ahead.areSameAt(10n)).toBe(true);
  expect(read).toEqual([9n, 10n]);
});

test("an edit that this node has not reached makes later times differ, until the node has it", async () => {
  const { ahead } = rulesAhead((time) => (time >= 8n ? 5 : 4));
  expect(await ahead.areSameAt(7n)).toBe(true);
  expect(await ahead.areSameAt(8n)).toBe(false);
  ahead.replace(5);
  expect(await ahead.areSameAt(8n)).toBe(true);
});

test("a set that takes effect during the read does not count as the same", async () => {
  const { ahead } = rulesAhead(() => {
    ahead.replace(5);
    return 4;
  });
  expect(await ahead.areSameAt(8n)).toBe(false);
});

test("without an answer, or without a set in force, the stream decides", async () => {
  const failing = rulesAhead(() => {
    throw new Error("no answer");
  });
  expect(await failing.ahead.areSameAt(8n)).toBe(false);
  expect(await rulesAhead(() => null).ahead.areSameAt(8n)).toBe(false);
});
