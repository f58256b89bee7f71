import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import { type Fault, sharedGuarded } from "../../../src/metrics/guard.ts";
import { guardParts } from "../../support/guard-parts.ts";

const settled = () => new Promise(setImmediate);

/** Two emitters that share a listener, which fails as the test says. */
function share(run: (emitter: EventEmitter, ...args: number[]) => unknown) {
  const faults: [EventEmitter, Fault][] = [];
  const listener = sharedGuarded(
    () => guardParts(),
    "test",
    run,
    (emitter: EventEmitter, fault) => faults.push([emitter, fault]),
  );
  const [first, second] = [new EventEmitter(), new EventEmitter()];
  for (const emitter of [first, second]) emitter.on("event", listener);
  return { first, second, faults };
}

test("a shared listener receives its emitter and the arguments of the event", () => {
  const calls: unknown[] = [];
  const { first, second, faults } = share((...args) => void calls.push(args));
  first.emit("event", 1, 2);
  second.emit("event", 3);
  expect(calls).toEqual([
    [first, 1, 2],
    [second, 3],
  ]);
  expect(faults).toEqual([]);
});

test("an error in a shared listener is contained and ends the owner of its emitter alone", () => {
  const error = new Error("a bug");
  const { second, faults } = share(() => {
    throw error;
  });
  second.emit("event");
  expect(faults).toEqual([[second, { error, ref: expect.any(String) }]]);
});

test("so is a rejection", async () => {
  const error = new Error("a bug");
  const { first, faults } = share(async () => {
    throw error;
  });
  first.emit("event");
  await settled();
  expect(faults).toEqual([[first, { error, ref: expect.any(String) }]]);
});
