import { expect, test } from "vitest";
import { SinkProgress } from "../../../src/sinks/sink-progress.ts";

const at = (cursor: string) => ({ cursor, ticket: "t" });

test("the position stays before the first message that is not settled, whatever came after it", () => {
  const progress = new SinkProgress(at("c0"));
  progress.arrive(1, at("c1"));
  progress.arrive(2, at("c2"));
  progress.arrive(3, at("c3"));
  progress.settle(3);
  progress.settle(2);
  expect(progress.position).toEqual(at("c0"));
  progress.settle(1);
  expect(progress.position).toEqual(at("c3"));
  expect(progress.unsettled).toBe(0);
});

test("the position never lies inside a commit", () => {
  const progress = new SinkProgress(null);
  progress.arrive(1, null);
  progress.arrive(2, at("c2"));
  progress.settle(1);
  expect(progress.position).toBeNull();
  progress.settle(2);
  expect(progress.position).toEqual(at("c2"));
});

test("a message that was settled before changes nothing when it is settled again", () => {
  const progress = new SinkProgress(null);
  progress.arrive(1, at("c1"));
  progress.settle(1);
  progress.settle(1);
  progress.arrive(2, at("c2"));
  expect(progress.position).toEqual(at("c1"));
});
