import { expect, test } from "vitest";
import { ENDED, idPrefix, parseEventId, START_OVER } from "../../../src/gateway/rights/event-id.ts";

test.each(["cursor-_09", START_OVER, ENDED])("reads what it writes: %j", (cursor) => {
  expect(parseEventId(`${idPrefix("mark", "ticket")}${cursor}`)).toEqual({
    mark: "mark",
    ticket: "ticket",
    cursor,
  });
});

test.each([
  ["", "nothing"],
  ["ticket.cursor", "two parts"],
  ["mark.ticket.cursor.more", "four parts"],
  [".ticket.cursor", "no mark"],
  ["mark..cursor", "no ticket"],
  ["mark.tic ket.cursor", "a character that base64url does not have"],
  [`mark.${"t".repeat(2_001)}.cursor`, "a ticket that is too long"],
  [`mark.ticket.${"c".repeat(201)}`, "a cursor that is too long"],
  ["mark.ticket.cursor\n", "a line break"],
])("takes %j for none of ours: %s", (text) => {
  expect(parseEventId(text)).toBeNull();
});
