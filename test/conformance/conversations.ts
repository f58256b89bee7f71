/** The recorded conversations: the steps of clients and the database. The transcripts hold the service's messages. */
import type { Step, Transcript } from "./transcript.ts";

/** Of a recording: what to do, and which messages to wait for before going on. */
export type Move = Exclude<Step, { server: string } | { closed: string }> & {
  /** So many messages of these types on this connection; `closed` waits for its end. */
  readonly awaits?: Readonly<Record<string, readonly string[]>>;
};

export type Conversation = Omit<Transcript, "steps" | "protocol"> & { readonly moves: readonly Move[] };

const OWNED = [{ name: "owner", filter: { owner: "%%user.sub" }, fields: { exclude: ["secret"] } }];
const ADMIN = { name: "admin", when: { "%%user.admin": true } };
const COLLECTIONS = { notes: { rules: [ADMIN, ...OWNED] }, staff: { rules: [ADMIN] } };

const connect = (
  client: string,
  claims: Record<string, unknown> = { sub: "u1" },
  more: object = {},
): Move[] => [
  { connect: client },
  { client, sends: { type: "hello", token: "<token>", ...more }, claims, awaits: { [client]: ["welcome"] } },
];
const subscribe = (
  client: string,
  id: string,
  more: object = {},
  answers = ["subscribed", "snapshot"],
): Move => ({
  client,
  sends: { type: "subscribe", id, collection: "notes", ...more },
  awaits: { [client]: answers },
});
const insert = (documents: object[], awaits: Move["awaits"] = {}): Move => ({
  database: { insert: "notes", documents },
  awaits,
});
const update = (_id: unknown, u: object, awaits: Move["awaits"] = {}): Move => ({
  database: { update: "notes", updates: [{ q: { _id }, u }] },
  awaits,
});
const remove = (_id: unknown, awaits: Move["awaits"] = {}): Move => ({
  database: { delete: "notes", deletes: [{ q: { _id }, limit: 1 }] },
  awaits,
});
const fails = (client: string, sends: Record<string, unknown>): Move => ({
  client,
  sends,
  awaits: { [client]: ["error"] },
});

export const CONVERSATIONS: readonly Conversation[] = [
  {
    name: "a snapshot and the changes after it",
    service: { collections: COLLECTIONS },
    moves: [
      insert([
        { _id: "1", owner: "u1", n: 1, secret: "s" },
        { _id: "2", owner: "u2" },
      ]),
      ...connect("a", { sub: "u1" }, { client: "transcript/1" }),
      subscribe("a", "mine"),
      insert([{ _id: "3", owner: "u1", tags: ["x", "y"], at: { $date: "2026-01-02T03:04:05.678Z" } }], {
        a: ["added"],
      }),
      update("1", { $set: { n: 2 } }, { a: ["changed"] }),
      update("1", { owner: "u1", n: 3 }, { a: ["changed"] }),
      update("2", { $set: { owner: "u1" } }, { a: ["added"] }),
      update("1", { $set: { owner: "u2" } }, { a: ["removed"] }),
      remove("3", { a: ["removed"] }),
      { client: "a", sends: { type: "ping", nonce: 7 }, awaits: { a: ["pong"] } },
      { client: "a", sends: { type: "unsubscribe", id: "mine" }, awaits: { a: ["unsubscribed"] } },
    ],
  },
  {
    name: "values as lossless EJSON",
    service: { collections: COLLECTIONS },
    moves: [
      insert([
        {
          _id: { $oid: "0123456789abcdef01234567" },
          owner: "u1",
          at: { $date: "2026-01-02T03:04:05.678Z" },
          big: { $numberLong: "9007199254740993" },
          exact: { $numberDecimal: "1.10" },
          bytes: { $binary: { base64: "AQID", subType: "00" } },
        },
      ]),
      ...connect("a", { sub: "u1" }, { values: "ejson" }),
      subscribe("a", "mine"),
      ...connect("b"),
      subscribe("b", "mine"),
      remove({ $oid: "0123456789abcdef01234567" }, { a: ["removed"], b: ["removed"] }),
    ],
  },
  {
    name: "coming back with cursor and ticket",
    service: { collections: COLLECTIONS },
    moves: [
      ...connect("a"),
      subscribe("a", "mine"),
      insert([{ _id: "1", owner: "u1" }], { a: ["added"] }),
      insert([{ _id: "2", owner: "u1" }], { a: ["added"] }),
      ...connect("b"),
      subscribe("b", "again", { cursor: "<cursor 3>", ticket: "<ticket 1>" }, [
        "subscribed",
        "added",
        "watermark",
      ]),
      subscribe("b", "other", { filter: { n: 1 }, cursor: "<cursor 3>", ticket: "<ticket 1>" }),
      subscribe("b", "no ticket", { filter: { n: 2 }, cursor: "<cursor 3>" }),
      subscribe("b", "changes only", { filter: { n: 3 }, cursor: "<cursor 3>", snapshot: false }, [
        "subscribed",
      ]),
      ...connect("c", { sub: "u2" }),
      subscribe("c", "borrowed", { cursor: "<cursor 3>", ticket: "<ticket 1>" }),
    ],
  },
  {
    name: "several subscriptions of one live query",
    service: { collections: COLLECTIONS },
    moves: [
      ...connect("a"),
      subscribe("a", "live", { snapshot: false }, ["subscribed"]),
      subscribe("a", "full"),
      subscribe("a", "shared", {}, ["subscribed"]),
      insert([{ _id: "1", owner: "u1" }], { a: ["added"] }),
      fails("a", { type: "subscribe", id: "full", collection: "notes" }),
      { client: "a", sends: { type: "unsubscribe", id: "full" }, awaits: { a: ["unsubscribed"] } },
      fails("a", { type: "unsubscribe", id: "full" }),
    ],
  },
  {
    name: "a transaction",
    service: { collections: COLLECTIONS },
    moves: [
      ...connect("a"),
      subscribe("a", "mine"),
      {
        database: [
          { insert: "notes", documents: [{ _id: "1", owner: "u1" }] },
          { insert: "notes", documents: [{ _id: "2", owner: "u1" }] },
          { update: "notes", updates: [{ q: { _id: "1" }, u: { $set: { n: 1 } } }] },
        ],
        awaits: { a: ["added", "added", "changed"] },
      },
    ],
  },
  {
    name: "refreshing a token, and rights that change with it",
    service: { collections: COLLECTIONS },
    moves: [
      insert([
        { _id: "1", owner: "u1", secret: "s" },
        { _id: "2", owner: "u2" },
      ]),
      ...connect("a", { sub: "u1", admin: true }),
      subscribe("a", "all"),
      subscribe("a", "staff", { collection: "staff" }),
      {
        client: "a",
        sends: { type: "refresh", token: "<token>" },
        claims: { sub: "u1" },
        awaits: { a: ["refreshed", "subscribed", "unsubscribed", "snapshot"] },
      },
      { ...fails("a", { type: "refresh", token: "<token>" }), claims: { sub: "u2" } } as Move,
      fails("a", { type: "refresh", token: "nonsense" }),
    ],
  },
  {
    name: "rights that change by a difference that can be sent",
    service: {
      collections: { notes: { rules: [{ name: "teams", filter: { team: { $in: "%%user.teams" } } }] } },
    },
    moves: [
      insert([
        { _id: "1", team: "red" },
        { _id: "2", team: "green" },
        { _id: "3", team: "blue" },
      ]),
      ...connect("a", { sub: "u1", teams: ["red", "green"] }),
      subscribe("a", "ours"),
      { client: "a", sends: { type: "fence", id: "f", operationTime: "<now>" }, awaits: { a: ["fenced"] } },
      {
        client: "a",
        sends: { type: "refresh", token: "<token>" },
        claims: { sub: "u1", teams: ["green", "blue"] },
        awaits: { a: ["refreshed", "subscribed", "removed", "added"] },
      },
      update("3", { $set: { n: 1 } }, { a: ["changed"] }),
    ],
  },
  {
    name: "a token that runs out",
    service: { collections: COLLECTIONS },
    moves: [
      { connect: "a" },
      {
        client: "a",
        sends: { type: "hello", token: "<token>" },
        claims: { sub: "u1", expiresInSeconds: 2 },
        awaits: { a: ["welcome", "expiring", "error", "closed"] },
      },
    ],
  },
  {
    name: "tokens that are refused",
    service: { collections: COLLECTIONS },
    moves: [
      { connect: "a" },
      { client: "a", sends: { type: "hello" }, awaits: { a: ["error", "closed"] } },
      { connect: "b" },
      { client: "b", sends: { type: "hello", token: "nonsense" }, awaits: { b: ["error", "closed"] } },
      { connect: "c" },
      {
        client: "c",
        sends: { type: "hello", token: "<token>" },
        claims: { sub: "u1", expiresInSeconds: -60 },
        awaits: { c: ["error", "closed"] },
      },
      { connect: "d" },
      { client: "d", sends: { type: "ping" }, awaits: { d: ["error", "closed"] } },
    ],
  },
  {
    name: "requests that are refused",
    service: {
      collections: COLLECTIONS,
      limits: { subscriptions: 1, snapshotDocuments: 1, fenceTimeout: "200ms" },
    },
    moves: [
      ...connect("a"),
      fails("a", { type: "no-such-type" }),
      fails("a", { type: "subscribe", id: "x", collection: "notes", filters: {} }),
      fails("a", { type: "subscribe", id: "x", collection: "notes", filter: { $where: "1" } }),
      fails("a", { type: "subscribe", id: "x", collection: "notes", filter: { n: { $near: [1, 1] } } }),
      fails("a", { type: "subscribe", id: "x", collection: "notes", filter: { secret: 1 } }),
      fails("a", { type: "subscribe", id: "x", collection: "staff" }),
      fails("a", { type: "subscribe", id: "x", collection: "nosuch" }),
      fails("a", { type: "fence", id: "f", operationTime: { $timestamp: { t: 4_294_967_295, i: 1 } } }),
      insert([
        { _id: "1", owner: "u1" },
        { _id: "2", owner: "u1" },
      ]),
      fails("a", { type: "subscribe", id: "x", collection: "notes" }),
      subscribe("a", "y", { snapshot: false }, ["subscribed"]),
      fails("a", { type: "subscribe", id: "z", collection: "notes" }),
      { client: "a", sends: { type: "unsubscribe", id: "y" }, awaits: { a: ["unsubscribed"] } },
    ],
  },
  {
    name: "too many requests",
    service: { collections: COLLECTIONS, limits: { requestsPerSecond: 0.001, requestBurst: 2 } },
    moves: [
      ...connect("a"),
      { client: "a", sends: { type: "ping" }, awaits: { a: ["pong"] } },
      fails("a", { type: "subscribe", id: "x", collection: "notes" }),
    ],
  },
  {
    name: "too many connections",
    service: { collections: COLLECTIONS, limits: { connectionsPerUser: 1, connections: 2 } },
    moves: [
      ...connect("a"),
      { connect: "b" },
      {
        client: "b",
        sends: { type: "hello", token: "<token>" },
        claims: { sub: "u1" },
        awaits: { b: ["error", "closed"] },
      },
      ...connect("c", { sub: "u2" }),
      { connect: "d", awaits: { d: ["error", "closed"] } },
    ],
  },
  {
    name: "an idle connection",
    service: { collections: COLLECTIONS, server: { heartbeat: "1s" } },
    moves: [
      ...connect("a"),
      { ...subscribe("a", "mine"), awaits: { a: ["subscribed", "snapshot", "watermark"] } },
    ],
  },
  {
    name: "an edit of the rules",
    service: { collections: COLLECTIONS },
    moves: [
      insert([{ _id: "1", owner: "u1" }]),
      ...connect("a"),
      subscribe("a", "mine"),
      { edit: { notes: { rules: [{ name: "all" }] } }, awaits: { a: ["subscribed", "snapshot"] } },
      { edit: { notes: { rules: [ADMIN] } }, awaits: { a: ["unsubscribed"] } },
      { edit: COLLECTIONS },
      subscribe("a", "mine"),
      { edit: { staff: COLLECTIONS.staff }, awaits: { a: ["unsubscribed"] } },
    ],
  },
  {
    name: "a node that drains",
    service: { collections: COLLECTIONS, server: { drainTimeout: "500ms" } },
    moves: [...connect("a"), { service: "drain", awaits: { a: ["draining", "error", "closed"] } }],
  },
];
