import { expect, test } from "vitest";
import {
  DELIVERY_EVENTS,
  DELIVERY_TRANSITIONS,
  isBeforeStart,
  isSending,
  PHASES,
} from "../../../src/feed/delivery-phase.ts";

/** Each phase with its answer to every event, in the order of `DELIVERY_EVENTS`; "." where nothing changes. */
const TABLE: Readonly<Record<(typeof PHASES)[number], string>> = {
  //              send-snapshot send-oplog send-move catch-up     caught-up void    close
  opening: "       snapshot      oplog      moving    catching-up  .         voided  closed",
  voided: "        snapshot      .          .         catching-up  .         .       closed",
  snapshot: "      .             .          .         catching-up  .         voided  closed",
  oplog: "         .             .          .         catching-up  .         voided  closed",
  moving: "        .             .          .         catching-up  .         voided  closed",
  "catching-up": " .             oplog      .         .            live      voided  closed",
  live: "          .             .          .         catching-up  .         voided  closed",
  closed: "        .             .          .         .            .         .       .",
};

const CELLS = PHASES.flatMap((phase) => {
  const row = TABLE[phase].trim().split(/\s+/);
  return DELIVERY_EVENTS.map((event, at) => ({ phase, event, next: row[at] === "." ? phase : row[at] }));
});

test.each(CELLS)("$phase, and then $event: $next", ({ phase, event, next }) => {
  expect(DELIVERY_TRANSITIONS[phase][event]).toBe(next);
});

test("a delivery becomes live from the log alone, so that nothing is left out and nothing comes twice", () => {
  for (const phase of PHASES) {
    const leading = DELIVERY_EVENTS.filter((event) => DELIVERY_TRANSITIONS[phase][event] === "live");
    if (phase === "catching-up") expect(leading).toEqual(["caught-up"]);
    else if (phase !== "live") expect(leading).toEqual([]);
  }
});

test("reports whether a phase is before the start, sending, live or closed", () => {
  const kinds = PHASES.map((phase) => [isBeforeStart(phase), isSending(phase)]);
  const [before, sending, neither] = [
    [true, false],
    [false, true],
    [false, false],
  ];
  expect(kinds).toEqual([before, before, sending, sending, sending, sending, neither, neither]);
});
