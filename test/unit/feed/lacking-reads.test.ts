/** The reads of documents that a result lacks while it is followed, and who pays for them. */
import { expect, test } from "vitest";
import { Account } from "../../../src/feed/account.ts";
import { deferred } from "../../../src/feed/deferred.ts";
import { leastBusy } from "../../../src/feed/least-busy.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { UNCONDITIONAL } from "../../../src/feed/rights.ts";
import { noteSlots } from "../../../src/feed/turn.ts";
import { FRESH, follow, Recorder } from "../../support/recorder.ts";
import { untilPasses } from "../../support/until-passes.ts";
import { commitOf, docOf, eventOf, settled, specOf, startFeed } from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

const numbers = (count: number) => [...Array(count).keys()];
const SMALL = numbers(50).map((n) => ({ _id: n, n }));
/** The document that is read when all small ones are gone, of about 30,000 bytes. */
const large = (n: number) => ({ _id: n, n, pad: "x".repeat(30_000) });
const REMOVAL = commitOf(
  1,
  SMALL.map((document) => eventOf(document, null)),
);
const SMALLEST = specOf({}, { sort: [["n", 1]], limit: 2 });
const accountOf = (userWindowBytes: number) => new Account(FeedLimits.parse({ userWindowBytes }), () => {});

/**
 * A window with followers of these accounts. Further documents are read one by one, and the read ends when the test says
 * so.
 */
async function startWindow(accounts: readonly Account[], limits: Partial<FeedLimits> = {}) {
  const reader = new ScriptedReader();
  reader.answer = () => SMALL;
  const started = await startFeed(reader, { limits });
  const sinks: Recorder[] = [];
  for (const account of accounts) {
    const sink = new Recorder();
    const { delivery } = await follow(started.feed, SMALLEST, sink, FRESH, UNCONDITIONAL, account);
    sink.failed = (error) => {
      sink.errors.push(error);
      started.feed.unsubscribe(delivery);
    };
    sinks.push(sink);
  }
  await untilPasses(() => expect(sinks.map(({ live }) => live)).toEqual(sinks.map(() => 1)));
  const end = deferred();
  const taken: number[] = [];
  reader.answer = () => numbers(9).map((n) => large(100 + n));
  reader.readAt = async (_query, _at, onDocuments) => {
    const documents = [];
    for (const n of numbers(5)) {
      const document = docOf(large(100 + n));
      onDocuments?.([document]);
      taken.push(n);
      documents.push(document);
      await settled();
    }
    await end.promise;
    return documents;
  };
  return { ...started, reader, sinks, taken, end };
}

test("[G6] documents that a window reads are charged to each of its users until they have been used", async () => {
  const accounts = [accountOf(1_048_576), accountOf(1_048_576)];
  const { accept, sinks, taken, end } = await startWindow(accounts);
  const before = accounts.map(({ windowBytes }) => windowBytes);
  await accept(REMOVAL);
  await untilPasses(() => expect(taken).toHaveLength(5));
  const grown = accounts.map(({ windowBytes }, index) => windowBytes - (before[index] ?? 0));
  for (const bytes of grown) expect(bytes).toBeGreaterThan(150_000);
  end.resolve();
  await untilPasses(() =>
    expect(sinks.map(({ order }) => order)).toEqual([
      ["100", "101"],
      ["100", "101"],
    ]),
  );
  for (const { windowBytes } of accounts) expect(windowBytes).toBeLessThan(66_000);
});

test("[G6] limits.userWindowBytes: a user without room for documents that a window reads loses it, and others do not", async () => {
  const accounts = [accountOf(100_000), accountOf(1_048_576)];
  const { accept, sinks, taken, end } = await startWindow(accounts);
  await accept(REMOVAL);
  await untilPasses(() => expect(taken).toHaveLength(5));
  const [poor, rich] = sinks;
  await untilPasses(() => expect(poor?.errors).toHaveLength(1));
  expect(poor?.errors).toMatchObject([
    { code: "too-many-subscriptions", details: { limit: "userWindowBytes" } },
  ]);
  end.resolve();
  await untilPasses(() => expect(rich?.order).toEqual(["100", "101"]));
  expect(rich?.errors).toEqual([]);
  expect(rich?.messages.map(({ type }) => type)).not.toContain("reset");
});

test("[G6] a window that none of its users has room to complete is read no further", async () => {
  const { accept, sinks, taken } = await startWindow([accountOf(65_536)]);
  await accept(REMOVAL);
  await untilPasses(() => expect(sinks[0]?.errors).toHaveLength(1));
  expect(taken).toEqual([0]);
  expect(sinks[0]?.errors).toMatchObject([
    { code: "too-many-subscriptions", details: { limit: "userWindowBytes" } },
  ]);
});

test("[G6] a result that changes while it is read is charged to the user for whom it is read", async () => {
  const reader = new ScriptedReader();
  const { feed } = await startFeed(reader);
  let documents = 0;
  reader.open = async (_query, clusterTime) => ({
    clusterTime,
    exact: false,
    get exhausted() {
      return documents >= 9;
    },
    count: async () => 9,
    next: async () => (documents < 9 ? [docOf(large(documents++))] : []),
    close: () => {},
  });
  const refused = { code: "too-many-subscriptions", details: { limit: "userWindowBytes" } };
  const poor = accountOf(100_000);
  const follows = (account: Account) => follow(feed, specOf(), new Recorder(), FRESH, UNCONDITIONAL, account);
  await expect(follows(poor)).rejects.toMatchObject(refused);
  expect([documents, poor.windowBytes]).toEqual([4, 0]);
  documents = 0;
  const rich = accountOf(1_048_576);
  const { sink } = await follows(rich);
  await untilPasses(() => expect(sink.live).toBe(1));
  expect([sink.state.size, rich.windowBytes]).toEqual([9, 0]);
});

/** Users with so many reads each, and how many of them were asked. */
function usersWith(reads: Iterable<number>) {
  let asked = 0;
  function* users() {
    for (const waiting of reads) {
      asked++;
      const user = { waiting };
      noteSlots(user, { waiting });
      yield user;
    }
  }
  return { users: users(), asked: () => asked };
}

test("[G6] a read for all waits in the queues of the least busy users, who are found without a look at all of them", () => {
  const idle = usersWith(numbers(5_000).map(() => 0));
  expect(leastBusy(idle.users)).toHaveLength(8);
  expect(idle.asked()).toBe(8);
  const busy = usersWith(numbers(5_000).map((n) => 5_000 - n));
  expect(leastBusy(busy.users).map(({ waiting }) => waiting)).toEqual(numbers(8).map((n) => 4_001 + n));
  expect(busy.asked()).toBe(1_000);
  const few = usersWith([3, 0, 2, 0]);
  expect(leastBusy(few.users).map(({ waiting }) => waiting)).toEqual([0, 0, 2, 3]);
});
