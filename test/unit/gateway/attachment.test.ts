import { expect, test } from "vitest";
import { Chunk, headOf } from "../../../src/feed/chunk.ts";
import { Attachment, type AttachmentOwner } from "../../../src/gateway/connection/attachment.ts";
import { Outbox } from "../../../src/gateway/connection/outbox.ts";
import type { EffectiveQuery } from "../../../src/rules/authorize.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { FakeTransport } from "./fake-transport.ts";

const change = (n: number) =>
  new Chunk([{ type: "changed", text: `${headOf("changed")}"cursor":"c${n}"}`, cursor: `c${n}` }]);

function attach() {
  const transport = new FakeTransport();
  const feed = { subscribe: () => ({}), unsubscribe: () => {} };
  // The attachment needs no more of its connection in these tests.
  const owner = {
    context: { ...guardParts(), feed },
    login: { values: "json" },
    outbox: new Outbox(transport, 1_000_000),
    subscriptions: { numberFor: () => 7, changes: { notify: () => {} } },
  } as unknown as AttachmentOwner;
  const attachment = new Attachment(owner, { key: "k" } as EffectiveQuery, true, {} as never);
  attachment.join("a");
  attachment.join("b");
  return { attachment, written: () => transport.chunks.map(({ cursor }) => cursor) };
}

test("[G5] refuses every write while the rights of one id are undecided, and accepts it again afterwards", () => {
  const { attachment, written } = attach();
  expect(attachment.write(change(1))).toBe(true);
  attachment.suspend("a");
  attachment.suspend("b");
  expect(attachment.write(change(2))).toBe(false);
  attachment.decide("a");
  expect(attachment.write(change(2))).toBe(false);
  attachment.decide("b");
  expect(attachment.write(change(2))).toBe(true);
  expect(written()).toEqual(["c1", "c2"]);
});

test("an id that leaves while its rights are undecided no longer holds back the others", () => {
  const { attachment, written } = attach();
  attachment.suspend("a");
  attachment.leave("a");
  expect(attachment.write(change(1))).toBe(true);
  expect(written()).toEqual(["c1"]);
});

test("room becomes available only after the rights are decided", async () => {
  const { attachment } = attach();
  let hasRoom = false;
  attachment.suspend("a");
  const room = attachment.room(1).then((has) => {
    hasRoom = has;
  });
  await new Promise(setImmediate);
  expect(hasRoom).toBe(false);
  attachment.decide("a");
  await room;
  expect(hasRoom).toBe(true);
});
