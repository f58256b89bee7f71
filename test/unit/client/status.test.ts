import { expect, test } from "vitest";
import {
  STATUS_EVENTS,
  STATUSES,
  type Status,
  type StatusEvent,
  TRANSITIONS,
} from "../../../src/client/status.ts";

/** The intended table, written independently: by event, with the changes alone. */
const MEANT: Readonly<Record<StatusEvent, Partial<Record<Status, Status>>>> = {
  attempt: { offline: "connecting" },
  subscribed: { connecting: "catching-up", live: "catching-up" },
  "caught-up": { "catching-up": "live" },
  reset: { live: "catching-up" },
  refused: { "catching-up": "connecting", live: "connecting" },
  lost: { connecting: "offline", "catching-up": "offline", live: "offline" },
  stop: { connecting: "stopped", "catching-up": "stopped", live: "stopped", offline: "stopped" },
  restart: { stopped: "connecting", offline: "connecting" },
};

const cases = STATUSES.flatMap((status) =>
  STATUS_EVENTS.map((event) => [status, event, MEANT[event][status] ?? status] as const),
);

test.each(cases)("a query that is %s and hears %s is %s", (status, event, next) => {
  expect(TRANSITIONS[status][event]).toBe(next);
});

test("the table knows every status and every event, and no others", () => {
  expect(Object.keys(TRANSITIONS).sort()).toEqual([...STATUSES].sort());
  for (const row of Object.values(TRANSITIONS))
    expect(Object.keys(row).sort()).toEqual([...STATUS_EVENTS].sort());
});

test("from every status there is a way to every other", () => {
  for (const from of STATUSES) {
    const reached = new Set<Status>([from]);
    for (const status of reached) for (const event of STATUS_EVENTS) reached.add(TRANSITIONS[status][event]);
    expect([...reached].sort()).toEqual([...STATUSES].sort());
  }
});
