import { expect, test } from "vitest";
import { Chunk, headOf } from "../../../src/feed/chunk.ts";
import { Rights } from "../../../src/feed/rights.ts";
import type { Sink } from "../../../src/feed/sink.ts";
import { sendTickets } from "../../../src/gateway/connection/answers.ts";
import { Attachment } from "../../../src/gateway/connection/attachment.ts";
import type { AttachmentOwner } from "../../../src/gateway/connection/attachment-owner.ts";
import type { Connection } from "../../../src/gateway/connection/connection.ts";
import { Outbox } from "../../../src/gateway/connection/outbox.ts";
import type { ServerMessage } from "../../../src/protocol/messages.ts";
import type { EffectiveQuery } from "../../../src/rules/authorize.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { FakeTransport } from "./fake-transport.ts";

const change = (n: number) =>
  new Chunk([{ type: "changed", text: `${headOf("changed")}"cursor":"c${n}"}`, cursor: `c${n}` }]);

/** An attachment of two subscriptions. */
function attach() {
  const transport = new FakeTransport();
  const guard = guardParts();
  const sinks: Sink[] = [];
  const sent: ServerMessage[] = [];
  const unsubscribed: unknown[] = [];
  const delivery = {};
  const counts = { notified: 0 };
  const feed = {
    subscribe: (_query: unknown, sink: Sink) => {
      sinks.push(sink);
      return delivery;
    },
    unsubscribe: (of: unknown) => unsubscribed.push(of),
    cursors: { published: { cursor: "head" } },
    timeline: { head: { clusterTime: 1n, within: 0 }, codec: { encode: () => "since" } },
  };
  // The attachment needs no more of its connection in these tests.
  const owner = {
    context: {
      ...guard,
      feed,
      sealer: { seal: () => "ticket" },
      ticketTerms: {},
      lostRights: { known: () => null },
    },
    identity: null,
    login: { values: "json" },
    outbox: new Outbox(transport, 1_000_000, guard),
    subscriptions: { numberFor: () => 7, changes: { notify: () => counts.notified++ } },
    send: (message: ServerMessage) => sent.push(message),
  } as unknown as AttachmentOwner;
  const attachment = Attachment.attach(owner, { key: "k" } as EffectiveQuery, true, new Rights(0n, []));
  attachment.join("a");
  attachment.join("b");
  const [sink] = sinks as [Sink];
  const written = () => transport.chunks.map(({ cursor }) => cursor);
  const resets = () => sent.filter(({ type }) => type === "reset").length;
  return { attachment, sink, written, sent, resets, counts, unsubscribed, delivery };
}

test("[G5] refuses every write while the rights of one id are undecided, and accepts it again afterwards", () => {
  const { attachment, sink, written, counts } = attach();
  expect(sink.write(change(1))).toBe(true);
  attachment.suspend("a");
  attachment.suspend("b");
  expect(sink.write(change(2))).toBe(false);
  attachment.decide("a");
  expect(sink.write(change(2))).toBe(false);
  expect(counts.notified).toBe(0);
  attachment.decide("b");
  expect(counts.notified).toBe(1);
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

test("[G5] a reset that falls due while rights are undecided is sent once, when they are decided", () => {
  const { attachment, sink, sent, resets } = attach();
  attachment.suspend("a");
  sink.reset("lagged");
  sink.reset("history-lost");
  expect(resets()).toBe(0);
  attachment.decide("a");
  expect(sent).toEqual([{ type: "reset", query: 7, ticket: "ticket", reason: "history-lost" }]);
  attachment.suspend("a");
  attachment.decide("a");
  expect(resets()).toBe(1);
});

test("a reset that is owed goes out before anything else is written", async () => {
  const { attachment, sink, resets } = attach();
  attachment.suspend("a");
  sink.reset("lagged");
  const first = sink.room(1).then(() => resets());
  attachment.decide("a");
  expect(await first).toBe(1);
});

test("a reset while all rights are decided is sent at once", () => {
  const { sink, resets } = attach();
  sink.reset("lagged");
  expect(resets()).toBe(1);
});

test("the other ids receive an owed reset when the undecided one leaves; nobody does when all have left", () => {
  for (const isLast of [false, true]) {
    const { attachment, sink, resets } = attach();
    attachment.suspend("a");
    sink.reset("lagged");
    if (isLast) attachment.leave("b");
    attachment.leave("a");
    expect(resets()).toBe(isLast ? 0 : 1);
  }
});

test("an attachment that is detached while rights are undecided sends no reset and leaves no waiter", async () => {
  const { attachment, sink, resets, unsubscribed, delivery } = attach();
  attachment.suspend("a");
  sink.reset("lagged");
  attachment.detach();
  await sink.room(1);
  attachment.decide("a");
  expect(resets()).toBe(0);
  expect(unsubscribed).toEqual([delivery]);
});

test("[G5] no ticket is renewed while rights are undecided", () => {
  const { attachment } = attach();
  attachment.start.decide({ cursor: "head", since: { clusterTime: 1n, within: 0 } });
  const renewed: unknown[] = [];
  // Renewing tickets needs no more of a connection.
  const connection = {
    subscriptions: [{ id: "a", attachment, isAnswered: true }],
    send: ({ tickets }: { tickets: unknown }) => renewed.push(tickets),
  } as unknown as Connection;
  attachment.suspend("b");
  sendTickets(connection);
  attachment.decide("b");
  sendTickets(connection);
  expect(renewed).toEqual([{}, { a: "ticket" }]);
});
