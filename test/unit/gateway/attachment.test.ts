import { expect, test } from "vitest";
import { Chunk, headOf } from "../../../src/feed/chunk.ts";
import type { Sink } from "../../../src/feed/sink.ts";
import { Attachment } from "../../../src/gateway/connection/attachment.ts";
import type { AttachmentOwner } from "../../../src/gateway/connection/attachment-owner.ts";
import { Outbox } from "../../../src/gateway/connection/outbox.ts";
import type { EffectiveQuery } from "../../../src/rules/authorize.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { FakeTransport } from "./fake-transport.ts";

const change = (n: number) =>
  new Chunk([{ type: "changed", text: `${headOf("changed")}"cursor":"c${n}"}`, cursor: `c${n}` }]);

function attach() {
  const transport = new FakeTransport();
  const sinks: Sink[] = [];
  const feed = { subscribe: (_query: unknown, sink: Sink) => sinks.push(sink), unsubscribe: () => {} };
  // The attachment needs no more of its connection in these tests.
  const owner = {
    context: { ...guardParts(), feed },
    login: { values: "json" },
    outbox: new Outbox(transport, 1_000_000),
    subscriptions: { numberFor: () => 7, changes: { notify: () => {} } },
  } as unknown as AttachmentOwner;
  const attachment = Attachment.attach(owner, { key: "k" } as EffectiveQuery, true, {} as never);
  attachment.join("a");
  attachment.join("b");
  const [sink] = sinks as [Sink];
  return { attachment, sink, written: () => transport.chunks.map(({ cursor }) => cursor) };
}

test("[G5] refuses every write while the rights of one id are undecided, and accepts it again afterwards", () => {
  const { attachment, sink, written } = attach();
  expect(sink.write(change(1))).toBe(true);
  attachment.suspend("a");
  attachment.suspend("b");
  expect(sink.write(change(2))).toBe(false);
  attachment.decide("a");
  expect(sink.write(change(2))).toBe(false);
  attachment.decide("b");
  expect(sink.write(change(2))).toBe(true);
  expect(written()).toEqual(["c1", "c2"]);
});

test("an id that leaves while its rights are undecided no longer holds back the others", () => {
  const { attachment, sink, written } = attach();
  attachment.suspend("a");
  attachment.leave("a");
  expect(sink.write(change(1))).toBe(true);
  expect(written()).toEqual(["c1"]);
});

test("room becomes available only after the rights are decided", async () => {
  const { attachment, sink } = attach();
  let hasRoom = false;
  attachment.suspend("a");
  const room = sink.room(1).then((has) => {
    hasRoom = has;
  });
  await new Promise(setImmediate);
  expect(hasRoom).toBe(false);
  attachment.decide("a");
  await room;
  expect(hasRoom).toBe(true);
});
