/** The order in which a follower of rule sets works: no attempt to catch up may interfere with a later set. */
import { expect, test } from "vitest";
import { CommitGate } from "../../../src/feed/commit-gate.ts";
import { deferred } from "../../../src/feed/deferred.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import type { Behind, ReadySet } from "../../../src/node/compile-rule-set.ts";
import { RuleSetFollower, type RuleSetFollowerParts } from "../../../src/node/rule-set-follower.ts";
import { recordingLog } from "../../support/node.ts";
import { untilPasses } from "../../support/until-passes.ts";
import { commitOf, eventOf, FROM } from "../feed/feed-parts.ts";
import { ScriptedReader } from "../feed/scripted-reader.ts";

const SETS = { database: "db", collection: "ruleSets" };
const LATER_MS = 60_000;

const inForce = (set: number) => ({ _id: "inForce", set, parent: set - 1 });
const readySet = (number: number) => ({ set: { number } }) as ReadySet;
const editTo = (offset: number, set: number) =>
  commitOf(offset, [eventOf(inForce(set - 1), inForce(set), SETS.collection)]);

type Result = ReadySet | Behind;

/** A result that the test gives. */
function awaited() {
  let give: (result: Result) => void = () => {};
  const promise = new Promise<Result>((resolve) => {
    give = resolve;
  });
  return { promise, give };
}

/** A follower whose sets are obtained, and take effect, when the test says. The order of turns is the real one. */
function start() {
  const gate = new CommitGate();
  const reader = new ScriptedReader();
  const obtained = new Map<number, ReturnType<typeof awaited>>();
  const asked: number[] = [];
  /** Every set that took effect, and the cluster time from which its rules count. */
  const applied: (readonly [set: number, at: bigint])[] = [];
  const pauses = new Map<number, Promise<void>>();
  let generation = 1;
  let behind: RuleSetFollowerParts["edits"]["rulesBehind"] = null;
  const edits: RuleSetFollowerParts["edits"] = {
    get generation() {
      return generation;
    },
    get rulesBehind() {
      return behind;
    },
    noteBehind: (now) => {
      behind = now === null ? null : { ...now, since: "" };
    },
    reject: () => {},
    *takeEffectAt({ set }, entry) {
      applied.push([set.number, entry.commit.clusterTime]);
      generation = set.number;
      yield;
    },
    takeEffectNow: async ({ set }, at, isWanted) => {
      let isApplied = false;
      await gate.exclusively(() => {
        if (!isWanted()) return undefined;
        isApplied = true;
        applied.push([set.number, at]);
        return pauses.get(set.number);
      });
      if (isApplied) generation = set.number;
      return isApplied;
    },
  };
  const obtain = (number: number) => {
    asked.push(number);
    const result = obtained.get(number) ?? awaited();
    obtained.set(number, result);
    return result.promise;
  };
  const { log } = recordingLog();
  const follower = new RuleSetFollower(SETS, {
    loader: { obtain, compileAhead: () => {}, forgetAhead: () => {} },
    edits,
    reader,
    headTime: () => FROM,
    log,
    metrics: createMetrics(),
    onChange: () => {},
  });
  const give = (number: number, result: Result = readySet(number)) => {
    const waiting = obtained.get(number) ?? awaited();
    obtained.set(number, waiting);
    waiting.give(result);
  };
  /** The node cannot apply set 2, which is in force. */
  const fallBehind = async () => {
    reader.answer = () => [inForce(2)];
    give(2, { set: 2, problem: "not yet" });
    await follower.prepare(FROM);
    obtained.clear();
    asked.length = 0;
  };
  const retry = () => follower.sweep(Date.now() + LATER_MS);
  return {
    follower,
    reader,
    give,
    retry,
    fallBehind,
    asked,
    applied,
    pauses,
    behind: () => behind,
  };
}

test("an attempt for an earlier set that waits while a later one takes effect changes nothing after it", async () => {
  const { follower, reader, give, retry, fallBehind, applied, pauses, asked, behind } = start();
  await fallBehind();
  retry();
  await untilPasses(() => expect(asked).toEqual([2]));
  const pause = deferred();
  pauses.set(3, pause.promise);
  reader.answer = () => [inForce(3)];
  give(3);
  const preparing = follower.prepare(FROM + 5n);
  await untilPasses(() => expect(applied).toHaveLength(1));
  give(2);
  await untilPasses(() => expect(asked).toEqual([2, 3]));
  pause.resolve();
  await preparing;
  await new Promise(setImmediate);
  expect(applied).toEqual([[3, FROM + 5n]]);
  expect(behind()).toBeNull();
});

test("a set is compared with the rules in force only when an attempt that changes them is complete", async () => {
  const { follower, give, retry, fallBehind, applied, pauses, asked } = start();
  await fallBehind();
  const pause = deferred();
  pauses.set(2, pause.promise);
  give(2);
  retry();
  await untilPasses(() => expect(applied).toHaveLength(1));
  const ready = follower.ready([editTo(1, 3)]);
  await new Promise(setImmediate);
  expect(asked).toEqual([2]);
  give(3);
  pause.resolve();
  await ready;
  expect(asked).toEqual([2, 3]);
});

test("no attempt begins while a commit waits for its set, or has it and was not applied yet", async () => {
  const { follower, give, retry, fallBehind, asked } = start();
  await fallBehind();
  const ready = follower.ready([editTo(1, 3)]);
  await untilPasses(() => expect(asked).toEqual([3]));
  retry();
  give(3);
  await ready;
  retry();
  await new Promise(setImmediate);
  expect(asked).toEqual([3]);
});

test("rules that come into force without their commit count from the time at which they were read", async () => {
  const { follower, reader, give, applied } = start();
  reader.answer = () => [inForce(2)];
  give(2);
  await follower.prepare(FROM + 7n);
  expect(applied).toEqual([[2, FROM + 7n]]);
});

test("a node that knows of no set in force reads it again, as of the commits that it has accepted", async () => {
  const { follower, reader, give, retry, applied, behind } = start();
  reader.answer = () => [];
  await follower.prepare(FROM - 3n);
  expect(behind()).toMatchObject({
    set: 0,
    problem: expect.stringContaining("no rule set is in force"),
  });
  reader.answer = ({ how }) => (how === "readAt" ? [{ _id: "inForce", set: "two" }] : []);
  retry();
  await untilPasses(() =>
    expect(behind()).toMatchObject({
      set: 0,
      problem: expect.stringContaining("by hand"),
    }),
  );
  reader.answer = ({ how }) => (how === "readAt" ? [inForce(2)] : []);
  give(2);
  retry();
  await untilPasses(() => expect(behind()).toBeNull());
  expect(reader.reads.at(-1)).toMatchObject({ how: "readAt", at: FROM });
  expect(applied).toEqual([[2, FROM]]);
});
