/**
 * [G5] Nothing forbidden arrives: random rules, users and writes, and for each subscription the messages that the
 * server's own `find`, asked before and after every write, says are due, and not one more.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Document } from "mongodb";
import { expect, test } from "vitest";
import { BEFORE } from "../../src/feed/cursor.ts";
import { renderTexts } from "../../src/push/render.ts";
import { Oracle, type OracleQuery } from "../support/oracle.ts";
import { PushClient } from "../support/push-client.ts";
import { PushEndpoint } from "../support/push-endpoint.ts";
import { pushSection } from "../support/push-world.ts";
import { Random } from "../support/random.ts";
import { startTestService } from "../support/service.ts";
import type { Received, WsClient } from "../support/ws-client.ts";
import {
  type Claims,
  expectedOf,
  type LeakRequest,
  type RuleText,
  randomClaims,
  randomFields,
  randomRequest,
  randomRules,
  randomWrite,
} from "./leak-samples.ts";
import { FUZZ_FACTOR, startSeed } from "./seed.ts";

const ROUNDS = 3 * FUZZ_FACTOR;
const COLLECTIONS = 6;
const USERS = 5;
const SUBSCRIPTIONS = 4;
const WRITES = 120;
const ATTACKS = 40;
const ATTACKERS = 10;
const REGISTRATIONS = 4;
/** Asks for everything that a document may have, hidden or not. */
const TEMPLATE = {
  title: "{{_id}} {{owner}} {{team}} {{level}} {{public}} {{secret}}",
  body: "{{readers}} {{meta.hidden}} {{meta.shown}} {{acl.0.who}} {{acl.0.can}} {{acl.0.note}}",
  url: "/{{_id}}/{{secret}}/{{meta.hidden}}",
};

type Setup = Awaited<ReturnType<typeof setUp>>;

/** A write that took effect, by its cluster time. */
interface Written {
  readonly collection: string;
  readonly time: bigint;
}

interface Followed {
  readonly client: WsClient;
  readonly id: string;
  readonly claims: Claims;
  readonly request: LeakRequest;
  readonly query: OracleQuery;
  readonly answer: Received;
  /** Messages from this one on may be for the subscription. */
  readonly from: number;
}

async function setUp(random: Random) {
  const names = Array.from({ length: COLLECTIONS }, (_, index) => `c${index}`);
  const rules = new Map<string, RuleText[]>(names.map((name) => [name, randomRules(random)]));
  const setup = await startTestService({
    collections: Object.fromEntries([...rules].map(([name, list]) => [name, { rules: list }])),
    limits: {
      requestBurst: 100_000,
      filterDepth: 20,
      linger: "0s",
      commitSlice: random.chance(0.5) ? "0ms" : "50ms",
    },
    // Attackers are to find their places in the history, and to be refused for better reasons.
    history: { window: "60s" },
    push: pushSection({ templates: Object.fromEntries(names.map((name) => [name, TEMPLATE])) }),
  });
  const endpoint = await PushEndpoint.start();
  for (const name of names) {
    const documents = Array.from({ length: 8 }, (_, n) => ({ ...randomFields(random), _id: `${name}-${n}` }));
    await setup.db.collection<{ _id: string }>(name).insertMany(documents);
  }
  const oracle = new Oracle(setup.client, `${setup.name}-state`);
  await oracle.learnEpoch();
  const startTime: bigint = (await setup.now()).toBigInt();
  const results = new Map<string, ReadonlyMap<string, string>>();
  const mixedUp = new Set<string>();
  return { ...setup, endpoint, names, rules, oracle, startTime, results, mixedUp, written: [] as Written[] };
}

const requestOf = ({ collection, ...rest }: LeakRequest) => ({ type: "subscribe", collection, ...rest });

/** Subscribes, and holds the answer to what the rules say in the naive reading. */
async function follow(
  setup: Setup,
  client: WsClient,
  { id, claims, request, place = {} }: { id: string; claims: Claims; request: LeakRequest; place?: object },
): Promise<Followed | undefined> {
  const expected = await expectedOf(setup, setup.rules.get(request.collection) ?? [], claims, request);
  const from = client.received.length;
  const answer = await client.ask({ ...requestOf(request), id, ...place });
  const what = JSON.stringify({ answer, claims, request, rules: setup.rules.get(request.collection) });
  if (expected === "forbidden") {
    expect(answer, what).toMatchObject({ type: "error", code: "forbidden" });
    return undefined;
  }
  expect(answer, what).toMatchObject({ type: "subscribed" });
  return { client, id, claims, request, query: expected.query, answer, from };
}

interface Registered {
  readonly browser: string;
  readonly query: OracleQuery;
  readonly since: bigint;
}

/** Registers for notifications, and holds the answer to the rules. */
async function register(
  setup: Setup,
  claims: Claims,
  { collection, filter = {} }: LeakRequest,
  browser: string,
): Promise<Registered | undefined> {
  const { service, client, name, endpoint, oracle } = setup;
  const request = { collection, filter };
  const expected = await expectedOf(setup, setup.rules.get(collection) ?? [], claims, request);
  const user = new PushClient(() => `http://127.0.0.1:${service.address.port}`, { ...claims });
  const on = ["added", "changed", "removed"];
  const { status, body } = await user.register(endpoint.subscription(browser), { ...request, on });
  const what = JSON.stringify({ body, claims, request, rules: setup.rules.get(collection) });
  if (expected === "forbidden") {
    expect([status, body["code"]], what).toEqual([403, "forbidden"]);
    return undefined;
  }
  expect(status, what).toBe(201);
  const pushes = client.db(`${name}-state`).collection<{ _id: string; start: { cursor: string } }>("pushes");
  const saved = await pushes.findOne({ _id: String(body["id"]) });
  const { clusterTime } = oracle.decode(saved?.start.cursor ?? "");
  return { browser, query: expected.query, since: clusterTime };
}

async function openRegistrations({ service }: Setup): Promise<number> {
  const { values } = await service.metrics.pushRegistrations.get();
  return values.find(({ labels }) => labels["state"] === "open")?.value ?? 0;
}

/** Holds everything that a push service received to what was due, and waits for the latest change. */
async function judgePushes(setup: Setup, { browser, query, since }: Registered): Promise<number> {
  const due = (await dueAfter(setup, query, since)).map(([kind, text]) => {
    const document = kind === "removed" ? { _id: JSON.parse(text) } : JSON.parse(text);
    return JSON.stringify({ ...renderTexts(TEMPLATE, document), change: kind });
  });
  const received = () =>
    setup.endpoint.accepted(browser).map(({ title, body, url, change, ...rest }) => {
      expect(Object.keys(rest).sort()).toEqual(["collection", "registration"]);
      return JSON.stringify({ title, body, url, change });
    });
  const last = due.at(-1);
  if (last === undefined) await pause(50);
  else await expect.poll(received).toContain(last);
  for (const payload of received()) expect(due, JSON.stringify({ query, payload })).toContain(payload);
  return received().length;
}

async function write(setup: Setup, command: Document): Promise<void> {
  const answer = await setup.db.command(command);
  const collection = String(command["update"] ?? command["delete"] ?? command["insert"]);
  if (answer["n"] > 0) setup.written.push({ collection, time: answer["operationTime"].toBigInt() });
}

/** A message of a query, in the oracle's terms. */
type Due = readonly ["added" | "changed", doc: string] | readonly ["removed", _id: string];

const timeOf = ({ oracle }: Setup, message: Received) => {
  const { clusterTime, within } = oracle.decode(String(message["cursor"]));
  return within === BEFORE ? clusterTime - 1n : clusterTime;
};

/** The changes due to a client with the result at `since`, found by a query before and after each write. */
async function dueAfter(setup: Setup, query: OracleQuery, since: bigint): Promise<Due[]> {
  let before = await resultAt(setup, query, since);
  const due: Due[] = [];
  for (const { collection, time } of setup.written) {
    if (collection !== query.collection || time <= since) continue;
    const after = await resultAt(setup, query, time);
    for (const [id, doc] of after) {
      if (before.get(id) !== doc) due.push([before.has(id) ? "changed" : "added", doc]);
    }
    for (const id of before.keys()) if (!after.has(id)) due.push(["removed", id]);
    before = after;
  }
  return due;
}

/** The result between two writes is that just after the first of them: so each is asked for once. */
async function resultAt(
  setup: Setup,
  query: OracleQuery,
  time: bigint,
): Promise<ReadonlyMap<string, string>> {
  const last = setup.written.findLast((write) => write.collection === query.collection && write.time <= time);
  const at = last?.time ?? setup.startTime;
  const key = JSON.stringify([query, String(at)]);
  const known = setup.results.get(key) ?? (await setup.oracle.findAt(query, at, "json"));
  if (known === null) throw new Error("the server cannot read that time any more");
  setup.results.set(key, known);
  return known;
}

/** Holds everything that arrived for a subscription to what was due: the snapshot, and each change. */
async function judge(setup: Setup, followed: Followed): Promise<void> {
  const { client, answer, from, query } = followed;
  const mine = client.received.slice(from).filter((message) => message["query"] === answer["query"]);
  const snapshots = mine.filter(({ type }) => type === "snapshot");
  const what = JSON.stringify({ answer, query });
  let since = timeOf(setup, answer);
  if (snapshots[0] !== undefined) {
    since = timeOf(setup, snapshots[0]);
    const docs = snapshots.flatMap((message) => message["docs"] as Document[]);
    expect(new Set(docs.map((doc) => JSON.stringify(doc))), what).toEqual(
      new Set((await resultAt(setup, query, since)).values()),
    );
  }
  const changes = mine.filter(({ type }) => ["added", "changed", "removed"].includes(type));
  expect(mine.filter(({ type }) => type === "reset")).toEqual([]);
  if (query.group !== undefined) {
    await judgeRows(setup, followed, changes, since, snapshots.length > 0);
    return;
  }
  const got = changes.map(
    (message): Due =>
      message.type === "removed"
        ? ["removed", JSON.stringify(message["_id"])]
        : [message.type as "added" | "changed", JSON.stringify(message["doc"])],
  );
  expect(got, what).toEqual(await dueAfter(setup, query, since));
}

/**
 * Holds the rows of an aggregate to the server's own at each cursor. Each message brings news, so that a write that
 * changes no row of the user shows by nothing: of two worlds that look the same, the same is said.
 */
async function judgeRows(
  setup: Setup,
  { answer, query }: Followed,
  changes: readonly Received[],
  since: bigint,
  isWhole: boolean,
): Promise<void> {
  const what = JSON.stringify({ answer, query });
  const held = new Map(await resultAt(setup, query, since));
  let at = since;
  for (const message of changes) {
    const doc = message["doc"] as Document | undefined;
    const id = JSON.stringify(doc === undefined ? message["_id"] : doc["_id"]);
    const text = doc === undefined ? undefined : JSON.stringify(doc);
    expect(held.get(id), `${what}: ${JSON.stringify(message)} is no news`).not.toBe(text);
    expect(held.has(id), `${what}: ${JSON.stringify(message)}`).toBe(message.type !== "added");
    if (text === undefined) held.delete(id);
    else held.set(id, text);
    const { clusterTime, within } = setup.oracle.decode(String(message["cursor"]));
    // In the middle of a commit there is nothing to compare with.
    if (within === BEFORE) continue;
    at = clusterTime;
    expect(new Map([...held].sort()), `${what} at ${at}`).toEqual(
      new Map([...(await resultAt(setup, query, at))].sort()),
    );
  }
  const last = setup.written.at(-1)?.time ?? since;
  const end = await resultAt(setup, query, last > at ? last : at);
  if (isWhole || changes.length > 0)
    expect(new Map([...held].sort()), what).toEqual(new Map([...end].sort()));
}

/** Makes an attempt on somebody else's place, and holds the answer and all that follows to the rules. */
async function attack(setup: Setup, random: Random, victims: readonly Followed[]): Promise<string> {
  const victim = random.pick(victims);
  const own = random.pick(victims);
  const place = placeOf(own);
  const stolen = placeOf(victim);
  const sameUser = own.claims["sub"] === victim.claims["sub"];
  const attempts: readonly (readonly [kind: string, place: object, answer: object])[] = [
    ["no ticket", { cursor: stolen.cursor }, { start: "reset", reason: "cursor-invalid" }],
    [
      "altered ticket",
      { ...place, ticket: altered(random, place.ticket) },
      { start: "reset", reason: "cursor-invalid" },
    ],
    [
      "altered cursor",
      { ...place, cursor: altered(random, place.cursor) },
      { start: "reset", reason: "cursor-invalid" },
    ],
    [
      "another's place",
      stolen,
      own === victim ? {} : { start: "reset", reason: sameUser ? "rights-changed" : "cursor-invalid" },
    ],
    [
      "another's ticket",
      { cursor: place.cursor, ticket: stolen.ticket },
      own === victim ? {} : { start: "reset", reason: sameUser ? "rights-changed" : "cursor-invalid" },
    ],
    // A position is a position; what may be seen from there is for the ticket to say.
    ["another's cursor", { cursor: stolen.cursor, ticket: place.ticket }, {}],
    ["its own place", place, { start: "resumed" }],
  ];
  const [kind, given, answer] = random.pick(attempts);
  const isSameQuery = JSON.stringify(own.query) === JSON.stringify(victim.query);
  // A newer token and a ticket for another live query look as if the user had lost the rights of the ticket, which the
  // service remembers.
  const rightOf = ({ claims, request }: Followed) => JSON.stringify([claims["sub"], request.collection]);
  if (sameUser && !isSameQuery && "ticket" in given && given.ticket === stolen.ticket)
    setup.mixedUp.add(rightOf(victim));
  const client = await setup.connect({ ...own.claims });
  const followed = await follow(setup, client, {
    id: "attack",
    claims: own.claims,
    request: own.request,
    place: given,
  });
  const isReset = followed?.answer["reason"] === "rights-changed" && setup.mixedUp.has(rightOf(own));
  if (!(isSameQuery && sameUser) && !isReset)
    expect(followed?.answer, kind).toMatchObject({ type: "subscribed", ...answer });
  await client.fence(await setup.now());
  if (followed !== undefined) await judge(setup, followed);
  client.socket.terminate();
  return kind;
}

/** The client's position: the last cursor of the query, and the ticket of its start. */
function placeOf({ client, answer, from }: Followed): { cursor: string; ticket: string } {
  const last = client.received
    .slice(from)
    .findLast((message) => message["query"] === answer["query"] && typeof message["cursor"] === "string");
  return { cursor: String((last ?? answer)["cursor"]), ticket: String(answer["ticket"]) };
}

function altered(random: Random, text: string): string {
  const bytes = Buffer.from(text, "base64url");
  const at = random.int(0, bytes.length - 1);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(0, 7));
  return bytes.toString("base64url");
}

async function runRound(seed: number): Promise<Record<string, number>> {
  const random = new Random(seed);
  const setup = await setUp(random);
  const followed: Followed[] = [];
  const counts: Record<string, number> = { refused: 0 };
  let asked = 0;
  const users = Array.from({ length: USERS }, (_, index) => randomClaims(random, `u${index}`));
  const connections = await Promise.all(users.map((claims) => setup.connect({ ...claims })));
  const join = async (index: number) => {
    const client = connections[index];
    const claims = users[index];
    if (client === undefined || claims === undefined) return;
    const request = randomRequest(random, random.pick(setup.names));
    const one = await follow(setup, client, {
      id: `s${asked++}`,
      claims,
      request,
    });
    if (one === undefined) counts["refused"] = (counts["refused"] ?? 0) + 1;
    // Messages of a shared query are judged once.
    else if (one.answer["start"] !== "shared") followed.push(one);
  };
  for (let index = 0; index < USERS; index++) {
    for (let n = 0; n < SUBSCRIPTIONS; n++) await join(index);
  }
  const registered: Registered[] = [];
  for (const [index, claims] of users.entries()) {
    for (let n = 0; n < REGISTRATIONS; n++) {
      const request = randomRequest(random, random.pick(setup.names));
      const one = await register(setup, claims, request, `${index}-${n}`);
      if (one !== undefined) registered.push(one);
    }
  }
  // Served from now on, so that most changes are sent by themselves instead of being caught up with.
  await expect.poll(async () => openRegistrations(setup)).toBe(registered.length);
  for (let n = 0; n < WRITES; n++) {
    await write(setup, randomWrite(random, random.pick(setup.names)));
    await pause(2);
    if (random.chance(0.05)) await join(random.int(0, USERS - 1));
    if (random.chance(0.05)) await pause(5);
  }
  for (const client of connections) await client.fence(await setup.now());
  for (const one of followed) await judge(setup, one);
  for (const one of registered) counts["pushes"] = (counts["pushes"] ?? 0) + (await judgePushes(setup, one));
  if (followed.length > 0) {
    // Some at a time, since each waits for the stream to come by.
    for (let n = 0; n < ATTACKS; n += ATTACKERS) {
      const kinds = Array.from({ length: ATTACKERS }, () => attack(setup, random, followed));
      for (const kind of await Promise.all(kinds)) counts[kind] = (counts[kind] ?? 0) + 1;
    }
  }
  return { ...counts, subscriptions: followed.length, writes: setup.written.length };
}

test("[G5] every user receives, in every mode, exactly the documents, fields and _ids that the rules give, at each write", async () => {
  const seed = startSeed("leak");
  for (let round = 0; round < ROUNDS; round++) {
    try {
      console.log(JSON.stringify(await runRound(seed + round)));
    } catch (error) {
      console.log(`failed with TIDEWIRE_SEED=${seed + round}`);
      throw error;
    }
  }
});
