/**
 * Two subscriptions of a connection share a live query, and their rights to it have different reasons: a claim, and a lookup
 * whose set happens to hold the same values.
 */
import { expect, test } from "vitest";
import { Account, SubscriptionCharge } from "../../../src/feed/account.ts";
import { AFTER } from "../../../src/feed/cursor.ts";
import { LookupSet } from "../../../src/feed/lookup-set.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { Rights } from "../../../src/feed/rights.ts";
import type { OpenSnapshot } from "../../../src/feed/snapshot-reader.ts";
import { Attachment } from "../../../src/gateway/connection/attachment.ts";
import type { AttachmentOwner } from "../../../src/gateway/connection/attachment-owner.ts";
import type { HeldLookups } from "../../../src/gateway/connection/held-lookups.ts";
import { Outbox } from "../../../src/gateway/connection/outbox.ts";
import { Subscription } from "../../../src/gateway/connection/subscription.ts";
import { Subscriptions } from "../../../src/gateway/connection/subscriptions.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { runThrough } from "../../../src/match/steps.ts";
import type { EffectiveQuery } from "../../../src/rules/authorize.ts";
import type { SnapshotQuery } from "../../../src/source/snapshot-cursor.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { FRESH } from "../../support/recorder.ts";
import { commitOf, FROM, insertOf, settled, specOf, startFeed } from "../feed/feed-parts.ts";
import { ScriptedReader } from "../feed/scripted-reader.ts";
import { FakeTransport } from "./fake-transport.ts";

/** Opens its reads two commits after the beginning, or later. */
class ReaderAhead extends ScriptedReader {
  override async open(query: SnapshotQuery, after: bigint): Promise<OpenSnapshot> {
    const ahead = FROM + 2n;
    return Object.assign(await super.open(query, after), { clusterTime: after > ahead ? after : ahead });
  }
}

/** Lets everything happen that needs no clock and no input, also what happens in several turns. */
async function rest(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await settled();
}

/** The set of the rooms of ada. */
function roomsOfAda(): LookupSet {
  const filter = parseFilter({ user: "ada" }, { regex: "prefix" });
  const set = new LookupSet({ key: "k", database: "db", collectionName: "members", filter, value: "room" });
  runThrough(set.loadInSteps([], FROM));
  return set;
}

/** A connection whose first subscription, `claim`, has made the attachment. Its rights depend on no lookup. */
async function connect() {
  const reader = new ReaderAhead();
  reader.answer = () => [{ _id: 1 }];
  const { feed, accept } = await startFeed(reader);
  const guard = guardParts();
  const transport = new FakeTransport();
  const gauge = { inc: () => {}, dec: () => {} };
  const subscriptions = new Subscriptions({ subscriptions: gauge, limitWaiting: gauge }, 1);
  const resets: string[] = [];
  // The attachment needs no more of its connection in these tests.
  const owner = {
    context: {
      ...guard,
      feed,
      rulesAhead: null,
      trust: { mayRead: async () => true },
      sealer: { seal: () => "ticket" },
      ticketTerms: {},
      lostRights: { known: () => null },
    },
    identity: null,
    login: { values: "json", account: new Account(FeedLimits.parse({}), () => {}) },
    outbox: new Outbox(transport, 1_000_000, guard),
    subscriptions,
    progress: { becameLive: () => {} },
    send: ({ type, reason }: { type: string; reason: string }) => resets.push(`${type} ${reason}`),
  } as unknown as AttachmentOwner;
  const query = { ...specOf(), grant: "by the claim" } as unknown as EffectiveQuery;
  const attachment = Attachment.attach(owner, query, true, new Rights(0n, []));
  const subscribe = (id: string, grant: string, sets: readonly LookupSet[]) => {
    const requested = {
      id,
      request: {} as never,
      lookups: { sets, release: () => {} } as unknown as HeldLookups,
      charge: new SubscriptionCharge(0, () => {}),
    };
    const subscription = new Subscription(requested, attachment, { ...query, grant });
    subscriptions.add(subscription);
    return subscription;
  };
  const first = subscribe("claim", query.grant, []);
  subscriptions.follow(attachment);
  const typesOf = () => transport.chunks.flatMap(({ messages }) => messages.map(({ type }) => type));
  return { feed, accept, subscriptions, attachment, subscribe, first, typesOf, resets };
}

test("[G5] a snapshot ahead of the stream waits for it once a lookup alone gives the rights, whatever gave them first", async () => {
  const { attachment, subscribe, subscriptions, first, typesOf, accept } = await connect();
  const opening = attachment.delivery.open(FRESH);
  subscribe("lookup", "by the lookup", [roomsOfAda()]);
  subscriptions.remove(first);
  await opening;
  attachment.delivery.run();
  await rest();
  expect(typesOf()).toEqual([]);
  await accept(commitOf(1), commitOf(2));
  await rest();
  expect(typesOf()).toEqual(["snapshot"]);
});

test("[G5] a snapshot that was allowed without lookups waits for the stream if they matter before it is written", async () => {
  const { attachment, subscribe, typesOf, accept } = await connect();
  await attachment.delivery.open(FRESH);
  attachment.suspend("claim");
  attachment.delivery.run();
  await rest();
  subscribe("lookup", "by the claim", [roomsOfAda()]);
  attachment.decide("claim");
  await rest();
  expect(typesOf()).toEqual([]);
  await accept(commitOf(1), commitOf(2));
  await rest();
  expect(typesOf()).toEqual(["snapshot"]);
});

test.each([
  ["by the lookup", ["reset history-lost"]],
  ["by the claim", []],
])(
  "[G5] missed changes are sent on after the subscription that resumed has left only under an equal grant: %s",
  async (grant, expected) => {
    const { attachment, subscribe, subscriptions, first, typesOf, accept, resets } = await connect();
    await accept(commitOf(1), commitOf(2, [insertOf({ _id: 2 })]), commitOf(3));
    const resumeFrom = { clusterTime: FROM + 1n, within: AFTER };
    expect(await attachment.delivery.open({ ...FRESH, resumeFrom })).toMatchObject({ start: "resumed" });
    attachment.start.decide({ cursor: "c", since: resumeFrom });
    attachment.suspend("claim");
    attachment.delivery.run();
    await rest();
    subscribe("other", grant, []);
    subscriptions.remove(first);
    await rest();
    expect(resets).toEqual(expected);
    expect(typesOf()).toEqual([grant === "by the claim" ? "added" : "snapshot"]);
  },
);

test("[G5] a live result is not sent again when the subscription that made it leaves", async () => {
  const { attachment, subscribe, subscriptions, first, typesOf, accept, resets } = await connect();
  await accept(commitOf(1), commitOf(2));
  await attachment.delivery.open(FRESH);
  attachment.delivery.run();
  await rest();
  subscribe("lookup", "by the lookup", [roomsOfAda()]);
  subscriptions.remove(first);
  await accept(commitOf(3, [insertOf({ _id: 3 })]));
  await rest();
  expect([typesOf(), resets]).toEqual([["snapshot", "added"], []]);
});
