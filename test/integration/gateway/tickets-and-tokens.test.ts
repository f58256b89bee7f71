/** Tickets and the tokens under which they were given: who resumes, and over which time. */
import { SignJWT } from "jose";
import { expect, onTestFinished, test } from "vitest";
import { startService } from "../../../src/server.ts";
import { metricOf } from "../../support/metric.ts";
import { SECRET, startTestService, testConfig, toConfig } from "../../support/service.ts";
import { type Received, WsClient } from "../../support/ws-client.ts";

const RULES = {
  items: {
    rules: [
      { name: "staff", when: { "%%user.role": "staff" } },
      { name: "guest", when: { "%%user.role": "guest" }, filter: { public: true } },
    ],
  },
};
/** Two names for one collection of MongoDB. */
const TWO_NAMES = { ...RULES, sameItems: { collection: "items", ...RULES.items } };
const ANYBODY = { items: { rules: [{ name: "all" }] } };

type Setup = Awaited<ReturnType<typeof start>>;
interface Place {
  readonly cursor: string;
  readonly ticket: string;
}

/** A token whose times are the test's own, in seconds from now. */
function sign(claims: Record<string, unknown>, { iat = 0, exp = 3_600 } = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1_000);
  return new SignJWT({ ...claims, iat: now + iat, exp: now + exp })
    .setProtectedHeader({ alg: "HS256" })
    .sign(new TextEncoder().encode(SECRET));
}

async function start(collections: object = RULES, sections: object = {}) {
  const options = {
    collections: collections as Record<string, unknown>,
    history: { window: "5m" },
    ...sections,
  };
  const setup = await startTestService(options);
  const items = setup.db.collection<{ _id: string; public?: boolean }>("items");
  const clients: WsClient[] = [];
  onTestFinished(() => {
    for (const { socket } of clients) socket.terminate();
  });
  const enter = async (token: string, url = setup.url) => {
    const client = await WsClient.connect(url, { token });
    clients.push(client);
    return client;
  };
  return { ...setup, options, items, enter };
}

const subscribe = (client: WsClient, place: Partial<Place> = {}, collection = "items") =>
  client.ask({ type: "subscribe", id: "a", collection, ...place });

/** Follows for a while; gives where to come back to. */
async function follow({ items, now }: Setup, client: WsClient, name = "before"): Promise<Place> {
  const { ticket } = (await subscribe(client)) as Received & Place;
  await items.insertOne({ _id: name });
  const { cursor } = (await client.fence(await now())) as Received & Place;
  return { cursor, ticket };
}

/** The newer ticket of the subscription `a`. */
function ticketIn(message: Received | undefined): string {
  if (message?.type !== "tickets") throw new Error(`no tickets: ${JSON.stringify(message)}`);
  return message.tickets["a"] ?? "";
}

const text = (client: WsClient) => JSON.stringify(client.received);

/** Comes back with an old ticket: without a right in between, the time in between is in no change. */
async function expectReset(
  setup: Setup,
  token: string,
  place: Place,
  { url = setup.url, collection = "items" } = {},
): Promise<void> {
  const client = await setup.enter(token, url);
  expect(await subscribe(client, place, collection)).toMatchObject({
    start: "reset",
    reason: "rights-changed",
  });
  await client.fence(await setup.now());
  expect(client.received.filter(({ type }) => type === "added" || type === "removed")).toEqual([]);
}

/** How the service learns that the user has no right: in each case by a token without the role. */
const LOSSES: Record<string, (setup: Setup, client: WsClient, place: Place) => Promise<void>> = {
  "refreshes to a token without the role": async (_setup, client) => {
    client.send({ type: "refresh", token: await sign({ sub: "u" }) });
    await client.until(({ type }) => type === "unsubscribed");
  },
  "refreshes to a token of a narrower role": async (_setup, client) => {
    client.send({ type: "refresh", token: await sign({ sub: "u", role: "guest" }) });
    await client.until(({ type, start }) => type === "subscribed" && start === "moved");
  },
  "refreshes to a token without the role, and at once to one with it": async (_setup, client) => {
    const from = client.received.length;
    client.send({ type: "refresh", token: await sign({ sub: "u" }) });
    client.send({ type: "refresh", token: await sign({ sub: "u", role: "staff", jti: "again" }) });
    await client.until(
      () => client.received.slice(from).filter(({ type }) => type === "refreshed").length === 2,
    );
  },
  "comes back with a token without the role": async ({ enter }, client, place) => {
    client.socket.terminate();
    expect(await subscribe(await enter(await sign({ sub: "u" })), place)).toMatchObject({
      code: "forbidden",
    });
  },
  "comes back with a token of a narrower role": async ({ enter }, client, place) => {
    client.socket.terminate();
    const narrower = await enter(await sign({ sub: "u", role: "guest" }));
    expect(await subscribe(narrower, place)).toMatchObject({ start: "reset", reason: "rights-changed" });
  },
};

const AGAIN = { sub: "u", role: "staff", jti: "regained" };

test.each(Object.entries(LOSSES))(
  "[3.3] a user who %s, and regains the role later, does not resume over the time between",
  async (_how, lose) => {
    const setup = await start();
    const client = await setup.enter(await sign({ sub: "u", role: "staff" }));
    const place = await follow(setup, client);
    await lose(setup, client, place);
    await setup.items.insertMany([{ _id: "in between" }, { _id: "gone again" }]);
    await setup.items.deleteOne({ _id: "gone again" });
    client.socket.terminate();
    await expectReset(setup, await sign(AGAIN), place);
    // Another user of the same role resumes.
    const other = await setup.enter(await sign({ sub: "v", role: "staff" }));
    const theirs = await follow(setup, other, "of v");
    other.socket.terminate();
    const back = await setup.enter(await sign({ sub: "v", role: "staff", jti: "newer" }));
    expect(await subscribe(back, theirs)).toMatchObject({ start: "resumed" });
  },
);

test.each(Object.entries(LOSSES))(
  "[3.3] a user who %s does not resume over the time between under another name of the collection either",
  async (_how, lose) => {
    const setup = await start(TWO_NAMES);
    const client = await setup.enter(await sign({ sub: "u", role: "staff" }));
    const place = await follow(setup, client);
    await lose(setup, client, place);
    await setup.items.insertOne({ _id: "in between" });
    client.socket.terminate();
    await expectReset(setup, await sign(AGAIN), place, { collection: "sameItems" });
  },
);

test("[3.3] a right that was lost under a name which is no longer configured is lost under the other name", async () => {
  const setup = await start(TWO_NAMES);
  const client = await setup.enter(await sign({ sub: "u", role: "staff" }));
  const place = await follow(setup, client);
  client.socket.terminate();
  const { items: _, ...collections } = TWO_NAMES;
  const file = testConfig(setup.uri, setup.name, { ...setup.options, collections });
  await setup.service.reload(toConfig(file));
  const without = await setup.enter(await sign({ sub: "u" }));
  expect(await subscribe(without, place)).toMatchObject({ code: "unknown-collection" });
  await setup.items.insertOne({ _id: "in between" });
  await expectReset(setup, await sign(AGAIN), place, { collection: "sameItems" });
});

test("[3.3] a user who lost and regained a right resumes with the next ticket, also where nothing is written", async () => {
  const setup = await start();
  const client = await setup.enter(await sign({ sub: "u", role: "staff" }));
  const place = await follow(setup, client);
  client.send({ type: "refresh", token: await sign({ sub: "u" }) });
  await client.until(({ type }) => type === "unsubscribed");
  client.socket.terminate();
  const back = await setup.enter(await sign(AGAIN));
  const answer = await subscribe(back, place);
  expect(answer).toMatchObject({ start: "reset", reason: "rights-changed" });
  const last = await back.until(({ type }) => type === "snapshot");
  back.socket.terminate();
  const again = await setup.enter(await sign({ ...AGAIN, jti: "once more" }));
  const next = { cursor: String(last?.["cursor"]), ticket: String(answer["ticket"]) };
  expect(await subscribe(again, next)).toMatchObject({ start: "resumed" });
});

test("[3.3] a newer token that grants the same is no loss after an edit that leaves the live query as it was", async () => {
  const setup = await start();
  const client = await setup.enter(await sign({ sub: "u", role: "staff" }));
  await follow(setup, client);
  const rules = [{ name: "first", when: { "%%user.role": "first" } }, ...RULES.items.rules];
  const collections = { items: { rules } };
  await setup.service.reload(toConfig(testConfig(setup.uri, setup.name, { ...setup.options, collections })));
  const elsewhere = await setup.enter(await sign({ sub: "u", role: "staff" }));
  const place = await follow(setup, elsewhere, "elsewhere");
  elsewhere.socket.terminate();
  client.send({ type: "refresh", token: await sign({ sub: "u", role: "staff", jti: "newer" }) });
  await client.until(({ type }) => type === "tickets");
  expect(await metricOf(setup.service, "tidewire_lost_rights")).toBe(0);
  const back = await setup.enter(await sign({ sub: "u", role: "staff", jti: "newest" }));
  expect(await subscribe(back, place)).toMatchObject({ start: "resumed" });
});

async function anotherNode({ uri, name, options }: Setup) {
  const service = await startService(toConfig(testConfig(uri, name, options)));
  onTestFinished(() => service.stop());
  await expect.poll(() => service.readiness().ready, { timeout: 60_000 }).toBe(true);
  return `ws://127.0.0.1:${service.address.port}/v1/ws`;
}

test("[3.3] other nodes and nodes that start know that a right was lost, once it is saved", async () => {
  const setup = await start();
  const running = await anotherNode(setup);
  const client = await setup.enter(await sign({ sub: "u", role: "staff" }));
  const place = await follow(setup, client);
  client.send({ type: "refresh", token: await sign({ sub: "u" }) });
  await client.until(({ type }) => type === "unsubscribed");
  const saved = setup.client.db(`${setup.name}-state`).collection("lostRights");
  await expect.poll(() => saved.countDocuments(), { timeout: 60_000 }).toBe(1);
  await setup.items.insertOne({ _id: "in between" });
  await expectReset(setup, await sign(AGAIN), place, { url: running });
  const url = await anotherNode(setup);
  await expectReset(setup, await sign({ ...AGAIN, jti: "later" }), place, { url });
  // After a new snapshot it resumes again, under any token with the role.
  const after = await setup.enter(await sign(AGAIN), running);
  const fresh = await follow(setup, after, "after");
  after.socket.terminate();
  const back = await setup.enter(await sign({ ...AGAIN, jti: "latest" }));
  expect(await subscribe(back, fresh)).toMatchObject({ start: "resumed" });
});

test("[3.3] resumes under a newer token that was issued before the older one expired, and not over a gap", async () => {
  const setup = await start();
  const first = await setup.enter(await sign({ sub: "u", role: "staff" }, { iat: -60, exp: 2 }));
  const place = await follow(setup, first);
  expect(await first.untilClosed()).toMatchObject({ code: 4100 });
  await setup.items.insertOne({ _id: "while away" });
  const late = await setup.enter(await sign({ sub: "u", role: "staff" }, { iat: 10, exp: 3_600 }));
  expect(await subscribe(late, place)).toMatchObject({ start: "reset", reason: "rights-changed" });
  const overlapping = await setup.enter(await sign({ sub: "u", role: "staff" }, { iat: -30, exp: 3_600 }));
  expect(await subscribe(overlapping, place)).toMatchObject({ start: "resumed" });
  await overlapping.fence(await setup.now());
  expect(text(overlapping)).toContain("while away");
});

test("[3.2] a refresh gives newer tickets, which go on where those of the older token end", async () => {
  const setup = await start();
  const client = await setup.enter(await sign({ sub: "u", role: "staff" }, { iat: -60, exp: 3 }));
  const old = await follow(setup, client);
  client.send({ type: "refresh", token: await sign({ sub: "u", role: "staff" }, { iat: 0, exp: 3_600 }) });
  const given = await client.until(({ type }) => type === "tickets");
  const ticket = ticketIn(given);
  expect(Object.keys(given ?? {})).toEqual(["type", "tickets"]);
  client.socket.terminate();
  await setup.items.insertOne({ _id: "while away" });
  const next = await sign({ sub: "u", role: "staff" }, { iat: 3_500, exp: 7_200 });
  const back = await setup.enter(next);
  expect(await subscribe(back, { ...old, ticket })).toMatchObject({ start: "resumed" });
  const tooLate = await setup.enter(next);
  expect(await subscribe(tooLate, old)).toMatchObject({ start: "reset", reason: "rights-changed" });
});

test("[3.2] a ticket ends, and a client that is connected has a newer one before", async () => {
  const setup = await start(RULES, { ticketMaxAgeMs: 3_000, heartbeatMs: 1_000 });
  const client = await setup.enter(await sign({ sub: "u", role: "staff" }));
  const old = await follow(setup, client);
  const given = await client.until(({ type }) => type === "tickets");
  const ticket = ticketIn(given);
  expect(ticket).not.toBe(old.ticket);
  const token = await sign({ sub: "u", role: "staff" });
  await expect
    .poll(async () => (await subscribe(await setup.enter(token), old))["start"], { timeout: 60_000 })
    .toBe("reset");
  const newest = ticketIn(client.received.findLast(({ type }) => type === "tickets"));
  expect(await subscribe(await setup.enter(token), { ...old, ticket: newest })).toMatchObject({
    start: "resumed",
  });
});

test("[8] a ticket works for a sub of 1,600 characters, and is no longer than for a short one", async () => {
  const setup = await start(ANYBODY);
  const tickets: string[] = [];
  for (const sub of ["x", "x".repeat(1_600), "\u{1F600}".repeat(400)]) {
    const client = await setup.enter(await sign({ sub }));
    const place = await follow(setup, client, sub.slice(0, 3));
    tickets.push(place.ticket);
    client.socket.terminate();
    expect(await subscribe(await setup.enter(await sign({ sub, jti: "newer" })), place)).toMatchObject({
      start: "resumed",
    });
  }
  expect(new Set(tickets.map(({ length }) => length)).size).toBe(1);
});

test("[8] tokens without sub do not share tickets; each resumes with its own", async () => {
  const setup = await start(ANYBODY);
  const [one, other] = [await sign({ of: "one" }), await sign({ of: "other" })];
  const client = await setup.enter(one);
  const place = await follow(setup, client);
  client.socket.terminate();
  expect(await subscribe(await setup.enter(other), place)).toMatchObject({ reason: "cursor-invalid" });
  expect(await subscribe(await setup.enter(one), place)).toMatchObject({ start: "resumed" });
});

test("[8] the same sub of another issuer is another user", async () => {
  const setup = await start(ANYBODY);
  const [one, other] = [
    await sign({ iss: "https://a", sub: "u" }),
    await sign({ iss: "https://b", sub: "u" }),
  ];
  const client = await setup.enter(one);
  const place = await follow(setup, client);
  expect(await subscribe(await setup.enter(other), place)).toMatchObject({ reason: "cursor-invalid" });
  client.send({ type: "refresh", token: other });
  expect(await client.until(({ type }) => type === "error")).toMatchObject({ code: "forbidden" });
});
