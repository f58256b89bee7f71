import { beforeEach, expect, test } from "vitest";
import { Place } from "../../../src/client/place.ts";
import type { SubscribedMessage } from "../../../src/protocol/messages.ts";

const subscribed = (start: SubscribedMessage["start"], extra: Partial<SubscribedMessage> = {}) =>
  ({ type: "subscribed", id: "a", query: 7, start, cursor: "c0", ticket: "t0", ...extra }) as const;
const snapshot = (cursor: string, last: boolean) => ({
  type: "snapshot" as const,
  query: 7,
  docs: [],
  cursor,
  last,
});
const added = (cursor: string, query = 7) =>
  ({ type: "added", query, cursor, cause: "insert", doc: {} }) as const;
const watermark = (cursor: string) => ({ type: "watermark", cursor }) as const;

let place: Place;
beforeEach(() => {
  place = new Place("a", true);
});

test("knows no point to resume from before the snapshot has come whole", () => {
  place.take(subscribed("snapshot"));
  place.take(snapshot("c1", false));
  place.take(watermark("c9"));
  expect(place.resumePoint).toBeUndefined();
  place.take(snapshot("c1", true));
  expect(place.resumePoint).toEqual({ cursor: "c1", ticket: "t0" });
});

test("goes forward with each change and watermark, not with other queries' changes", () => {
  place.take(subscribed("snapshot"));
  place.take(snapshot("c1", true));
  place.take(added("c2"));
  expect(place.resumePoint?.cursor).toBe("c2");
  place.take(added("c3", 8));
  expect(place.resumePoint?.cursor).toBe("c2");
  place.take({ type: "changed", query: 7, cursor: "c4", cause: "update", doc: {} });
  place.take({ type: "removed", query: 7, cursor: "c5", cause: "delete", _id: 1 });
  expect(place.resumePoint?.cursor).toBe("c5");
  place.take(watermark("c6"));
  expect(place.resumePoint?.cursor).toBe("c6");
});

test("[3.3] a resumption goes on from where it was, under its new ticket", () => {
  place.take(subscribed("resumed", { cursor: "c4", ticket: "t1" }));
  expect(place.resumePoint).toEqual({ cursor: "c4", ticket: "t1" });
});

test.each(["reset message", "reset start"])(
  "[3.3] a %s voids the place until its snapshot is whole",
  (how) => {
    place.take(subscribed("snapshot"));
    place.take(snapshot("c1", true));
    if (how === "reset start") place.take(subscribed("reset", { ticket: "t1", reason: "rights-changed" }));
    else place.take({ type: "reset", query: 7, ticket: "t1", reason: "lagged" });
    expect(place.resumePoint).toBeUndefined();
    place.take(snapshot("c5", true));
    expect(place.resumePoint).toEqual({ cursor: "c5", ticket: "t1" });
  },
);

test("[3.3] rights that changed with a difference that can be told bring another query and ticket", () => {
  place.take(subscribed("snapshot"));
  place.take(snapshot("c1", true));
  place.take(subscribed("moved", { query: 9, cursor: "c2", ticket: "t1", from: 7 }));
  place.take(added("c3", 7));
  expect(place.resumePoint).toEqual({ cursor: "c2", ticket: "t1" });
  place.take(added("c4", 9));
  expect(place.resumePoint).toEqual({ cursor: "c4", ticket: "t1" });
});

test("[3.3] without a snapshot every cursor counts at once, also after a reset", () => {
  place = new Place("a", false);
  place.take(subscribed("live"));
  expect(place.resumePoint).toEqual({ cursor: "c0", ticket: "t0" });
  place.take({ type: "reset", query: 7, ticket: "t1", reason: "lagged" });
  expect(place.resumePoint).toBeUndefined();
  place.take(added("c3"));
  expect(place.resumePoint).toEqual({ cursor: "c3", ticket: "t1" });
});

test("does not listen to what is said to another id", () => {
  place.take(subscribed("live", { id: "b" }));
  expect(place.resumePoint).toBeUndefined();
});
