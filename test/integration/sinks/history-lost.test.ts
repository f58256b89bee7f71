/**
 * Sinks whose position cannot be continued, because the history is lost. A sink with claims may have other rights then, and
 * nobody knows since when.
 */
import { expect, onTestFinished, test } from "vitest";
import { startService } from "../../../src/server.ts";
import { configFile, runCommand } from "../../support/command.ts";
import { toConfig } from "../../support/service.ts";
import { startWebhookSink } from "../../support/webhook-world.ts";

const PATIENCE = { timeout: 60_000, interval: 20 };
const OWN = { name: "own", filter: { owner: "%%user.sub" } };
const ONLY_OSLO = { name: "own", filter: { owner: "%%user.sub", city: "Oslo" } };

interface Order {
  _id: number;
  owner: string;
  city: string;
}

const rome = (_id: number): Order => ({ _id, owner: "ada", city: "Rome" });
const oslo = (_id: number): Order => ({ _id, owner: "ada", city: "Oslo" });

async function start(sink: Record<string, unknown>) {
  const started = await startWebhookSink<Order>(sink, [OWN]);
  const { file, service, follows } = started;
  await follows();
  const stop = () => service.stop();
  /** The history is lost, as after a restore, and another node goes on under other rules. */
  const loseHistory = async () => {
    const answer = await runCommand(["new-epoch", "--config", await configFile(file), "--reason", "a test"]);
    expect(answer.code, answer.err).toBe(0);
    const again = await startService(toConfig({ ...file, collections: { orders: { rules: [ONLY_OSLO] } } }));
    onTestFinished(() => again.stop());
  };
  const lastReset = async () => (await started.stateOf())?.lastReset?.reason;
  return { ...started, stop, loseHistory, lastReset };
}

const sent = ({ subject, data }: { readonly subject: string; readonly data: { readonly cause: string } }) =>
  `${subject} ${data.cause}`;

test.for<[string, boolean, string[]]>([
  ["begins again with what the rules show", true, ["2 snapshot", "3 insert"]],
  ["goes on with the present changes", false, ["3 insert"]],
])(
  "[G5] a sink with claims drops the messages that wait when the history is lost, and %s",
  async ([, snapshot, expected]) => {
    const { receiver, orders, stateOf, stop, loseHistory, lastReset, follows } = await start({
      as: { sub: "ada" },
      snapshot,
    });
    await receiver.close();
    await orders.insertMany([rome(1), oslo(2), { _id: 4, owner: "bob", city: "Oslo" }]);
    await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(2);
    await stop();
    await loseHistory();
    await expect.poll(lastReset, PATIENCE).toBe("history-lost");
    await follows();
    await receiver.open();
    await orders.insertOne(oslo(3));
    await receiver.holds(expected.length);
    await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(0);
    await receiver.rests(1_000);
    expect(receiver.accepted.map(sent).sort()).toEqual(expected);
    expect((await stateOf())?.resets).toBe(1);
  },
);

test("[G5] a message that was parked before the history was lost is removed in place of a replay", async () => {
  const { receiver, orders, store, stateOf, stop, loseHistory, lastReset } = await start({
    as: { sub: "ada" },
    retry: { attempts: 1 },
  });
  receiver.respond = () => 400;
  await orders.insertOne(rome(1));
  await expect.poll(async () => (await stateOf())?.parked, PATIENCE).toBe(1);
  await stop();
  await loseHistory();
  await expect.poll(lastReset, PATIENCE).toBe("history-lost");
  receiver.respond = () => 200;
  expect(await store.askReplay("late", null)).toBe(1);
  await expect.poll(async () => (await stateOf())?.parked, PATIENCE).toBe(0);
  await orders.insertOne(oslo(2));
  await receiver.holds(1);
  await receiver.rests(1_000);
  expect(receiver.accepted.map(({ subject }) => subject)).toEqual(["2"]);
});

test("[G5] the messages of a first snapshot that a stop interrupted are dropped if the sink has claims", async () => {
  const { receiver, orders, state, stateOf, stop, loseHistory, lastReset, follows } = await start({
    as: { sub: "ada" },
    snapshot: true,
  });
  await receiver.close();
  await orders.insertMany([rome(1), oslo(2)]);
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(2);
  await stop();
  // As a node leaves it that stops before the end of the snapshot.
  await state.collection<{ _id: string }>("sinks").updateOne({ _id: "late" }, { $set: { position: null } });
  await loseHistory();
  await expect.poll(lastReset, PATIENCE).toBe("snapshot-interrupted");
  await follows();
  await receiver.open();
  await receiver.holds(1);
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(0);
  await receiver.rests(1_000);
  expect(receiver.accepted.map(sent)).toEqual(["2 snapshot"]);
  expect((await stateOf())?.resets).toBe(1);
});

test.for<[string, boolean, string[]]>([
  ["begins again with the present result", true, ["1 insert", "1 snapshot", "2 insert"]],
  ["goes on with the present changes", false, ["1 insert", "2 insert"]],
])(
  "a sink without claims sends what waits when the history is lost, and %s",
  async ([, snapshot, expected]) => {
    const { receiver, orders, stateOf, stop, loseHistory, lastReset, follows } = await start({ snapshot });
    await receiver.close();
    await orders.insertOne(rome(1));
    await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(1);
    await stop();
    await loseHistory();
    await expect.poll(lastReset, PATIENCE).toBe("history-lost");
    await follows();
    await orders.insertOne(rome(2));
    await receiver.open();
    await receiver.holds(expected.length);
    await receiver.rests(1_000);
    // The node may read the commit of the first document once more, under another cursor.
    expect([...new Set(receiver.accepted.map(sent))].sort()).toEqual(expected);
    expect((await stateOf())?.resets).toBe(1);
  },
);

const MEMBER = {
  lookups: { cities: { collection: "members", filter: { user: "%%user.sub" }, value: "city" } },
  rules: [{ name: "member", filter: { city: { $in: "%%lookup.cities" } } }],
};

test("a sink goes on although a membership was lost and won while nobody followed it, which only the oplog shows", async () => {
  const sink = { as: { sub: "ada" }, snapshot: true };
  const started = await startWebhookSink<Order>(sink, [], { collections: { orders: MEMBER } });
  const { receiver, orders, db, store, stateOf, settled, service, follows, connect } = started;
  const members = db.collection("members");
  await members.insertOne({ user: "ada", city: "Oslo" });
  await follows();
  // With this client the node knows since when the membership is the present one.
  const client = await connect({ sub: "ada" });
  await client.ask({ type: "subscribe", id: "a", collection: "orders" });
  await orders.insertOne(oslo(1));
  await receiver.holds(1);
  await store.setControl("late", { isPaused: false, disabled: { at: new Date(), reason: "a test" } });
  const subscriptions = async () => {
    const text = await service.metrics.registry.getSingleMetricAsString("tidewire_subscriptions");
    return /^tidewire_subscriptions.* (\d+)$/m.exec(text)?.[1];
  };
  await expect.poll(subscriptions, PATIENCE).toBe("1");
  await orders.insertOne(oslo(2));
  for (const city of ["Rome", "Oslo"]) await members.updateOne({ user: "ada" }, { $set: { city } });
  await settled();
  await orders.insertOne(rome(4));
  await settled();
  await store.setControl("late", { isPaused: false, disabled: null });
  await orders.insertOne(oslo(3));
  await expect.poll(() => receiver.accepted.map(({ subject }) => subject), PATIENCE).toContain("3");
  expect(await stateOf()).toMatchObject({ resets: 1, lastReset: { reason: "history-lost" } });
});

test("a sink goes on after its collection was dropped, and says that changes are missing", async () => {
  const { receiver, orders, stateOf, follows } = await startWebhookSink<Order>({});
  await follows();
  await orders.insertOne(oslo(1));
  await receiver.holds(1);
  await orders.drop();
  const arrives = async () => {
    await orders.insertOne(oslo(Math.floor(Math.random() * 1e9)));
    return receiver.accepted.length > 1;
  };
  await expect.poll(arrives, PATIENCE).toBe(true);
  expect(await stateOf()).toMatchObject({ resets: 1, lastReset: { reason: "history-lost" } });
});
