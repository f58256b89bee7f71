/**
 * Faults at every step of re-authorization, injected into the running service. Whatever breaks, the user whose rights
 * change receives nothing more than the new rights give, and nobody else notices: neither a user who keeps their rights
 * nor one who is withdrawn by the very same commit.
 */
import { inspect } from "node:util";
import { MongoNetworkError } from "mongodb";
import { expect, onTestFinished, test, vi } from "vitest";
import { ClientCursors } from "../../../src/feed/client-cursors.ts";
import { Delivery } from "../../../src/feed/delivery.ts";
import { Feed } from "../../../src/feed/feed.ts";
import { LiveQuery } from "../../../src/feed/live-query.ts";
import { LookupSet } from "../../../src/feed/lookup-set.ts";
import { TicketSealer } from "../../../src/feed/ticket.ts";
import { Attachment } from "../../../src/gateway/connection/attachment.ts";
import { AttachmentSink } from "../../../src/gateway/connection/attachment-sink.ts";
import { Connection } from "../../../src/gateway/connection/connection.ts";
import { HeldLookups } from "../../../src/gateway/connection/held-lookups.ts";
import { Subscriptions } from "../../../src/gateway/connection/subscriptions.ts";
import { canonicalFilter } from "../../../src/match/canonical-filter.ts";
import type { Filter } from "../../../src/match/filter.ts";
import { SnapshotCursor } from "../../../src/source/snapshot-cursor.ts";
import { signToken, startTestService, testConfig, toConfig } from "../../support/service.ts";
import type { WsClient } from "../../support/ws-client.ts";

const MEMBER = {
  name: "member",
  when: { "%%user.role": "member" },
  filter: { room: { $in: "%%lookup.rooms" } },
};
const GUEST = { name: "guest", when: { "%%user.role": "guest" }, filter: { room: "lobby" } };
const RULES = {
  items: {
    lookups: { rooms: { collection: "members", filter: { user: "%%user.sub" }, value: "room" } },
    rules: [MEMBER, GUEST],
  },
};
const EDITED = { items: { ...RULES.items, rules: [{ ...MEMBER, when: { "%%user.keeps": true } }, GUEST] } };

interface Step {
  readonly target: object;
  readonly method: string;
  /** The behaviour of the replacement; by default it throws. */
  readonly instead?: () => unknown;
  /** Each time, not the first time only. */
  readonly always?: boolean;
}

const reject = (error: Error) => () => Promise.reject(error);

/** The steps of a decision and of its effect, in the order of the code. */
const STEPS: Record<string, Step | readonly Step[] | undefined> = {
  "nothing at all": undefined,
  "the effect of the commit on the set is found": { target: LookupSet.prototype, method: "deltaOf" },
  "the set is brought past the commit": { target: LookupSet.prototype, method: "advance" },
  "the holder is notified": { target: HeldLookups.prototype, method: "lookupChanged" },
  "the holder is notified and notified again of the loss": {
    target: HeldLookups.prototype,
    method: "lookupLost",
  },
  "the sets that the rights do not need are let go": { target: HeldLookups.prototype, method: "keepOnly" },
  "a set that is needed is read": {
    target: HeldLookups.prototype,
    method: "acquire",
    instead: reject(new Error("injected")),
  },
  "rights are suspended": { target: Attachment.prototype, method: "suspend" },
  "rights are decided": { target: Attachment.prototype, method: "decide" },
  "the subscription is released": { target: Subscriptions.prototype, method: "release" },
  "the subscription is removed": { target: Subscriptions.prototype, method: "remove", always: true },
  "the point of the change is found": { target: ClientCursors.prototype, method: "grantPoint" },
  "the new live query is made": { target: Feed.prototype, method: "subscribe" },
  "the new attachment serves the subscription": { target: Subscriptions.prototype, method: "serve" },
  "the new attachment is followed": { target: Subscriptions.prototype, method: "follow" },
  "a move is opened": { target: Delivery.prototype, method: "openMoved" },
  "the position after the change is found": { target: ClientCursors.prototype, method: "positionAfter" },
  "a ticket is sealed": { target: TicketSealer.prototype, method: "seal" },
  "the client is notified": { target: Connection.prototype, method: "send" },
  "the client receives any message": { target: Connection.prototype, method: "send", always: true },
  "the delivery begins": { target: Delivery.prototype, method: "run" },
  "the difference is read, and MongoDB fails": {
    target: SnapshotCursor,
    method: "readAt",
    instead: reject(new MongoNetworkError("injected")),
  },
  "the difference is read, and the reader fails": {
    target: SnapshotCursor,
    method: "readAt",
    instead: reject(new Error("injected")),
  },
  "the difference is encoded": { target: LiveQuery.prototype, method: "grantChunks" },
  "the difference is written": { target: AttachmentSink.prototype, method: "write" },
  "a new live query is made, and then the error is sent": [
    { target: Feed.prototype, method: "subscribe" },
    { target: Connection.prototype, method: "sendError", always: true },
  ],
  "no move is possible, and a new start is opened": [
    { target: Delivery.prototype, method: "canMoveFrom", instead: () => false, always: true },
    { target: Delivery.prototype, method: "reopen" },
  ],
};

type Setup = Awaited<ReturnType<typeof start>>;

/** How the victim loses what it sees of its room. */
const TRIGGERS: Record<string, (setup: Setup, victim: WsClient, name: string) => Promise<void>> = {
  "a commit": async ({ client, members }, _victim, name) => {
    await client.withSession((session) =>
      session.withTransaction(async () => {
        await members.deleteMany({ user: { $in: [`${name}-victim`, `${name}-also`] } }, { session });
      }),
    );
  },
  "a token without the role": async (_setup, victim, name) => {
    victim.send({ type: "refresh", token: await signToken({ sub: `${name}-victim`, role: "none" }) });
  },
  "a token of another role": async (_setup, victim, name) => {
    victim.send({ type: "refresh", token: await signToken({ sub: `${name}-victim`, role: "guest" }) });
  },
  "the loss of a set": async ({ members }) => {
    await members.drop();
  },
  "an edit of the rules": async ({ edit }) => {
    await edit(EDITED);
  },
};

interface Item {
  _id: string;
  room: string;
}

async function start() {
  const setup = await startTestService({ collections: RULES, history: { window: "5m" } });
  const members = setup.db.collection<{ _id: string; user: string; room: string }>("members");
  const items = setup.db.collection<Item>("items");
  const edit = (collections: object) =>
    setup.service.reload(toConfig(testConfig(setup.uri, setup.name, { ...setup, collections } as never)));
  const unhandled: unknown[] = [];
  const note = (error: unknown) => unhandled.push(error);
  process.on("unhandledRejection", note);
  onTestFinished(() => {
    process.off("unhandledRejection", note);
  });
  return { ...setup, members, items, edit, unhandled };
}

interface Hit {
  readonly connection?: Connection;
  readonly identity?: Connection["identity"];
  readonly attachment?: Attachment;
  readonly liveQuery?: LiveQuery;
  readonly sets?: readonly LookupSet[];
  readonly spec?: { readonly filter: Filter };
  readonly filter?: object;
}

/** The users that a call is about, as far as their names are in it. */
function namesIn(value: unknown): string {
  if (typeof value !== "object" || value === null) return "";
  const hit: Hit = value;
  const connection = hit.connection ?? hit.attachment?.connection;
  const filters = [hit.liveQuery?.spec, hit.spec, ...(hit.sets ?? []).map(({ spec }) => spec)];
  const written = filters.map((spec) => (spec === undefined ? "" : canonicalFilter(spec.filter)));
  const plain = hit.filter === undefined || "op" in hit.filter ? "" : inspect(hit.filter, { depth: null });
  return [connection?.identity?.sub, hit.identity?.sub, ...written, plain].join();
}

/** Makes one method fail, from now on, for everybody but the bystanders. Gives whether it was reached, and ends it. */
function inject({ target, method, instead, always = false }: Step, name: string) {
  let reached = 0;
  const isBystanders = (call: unknown[]) => {
    const names = call.map(namesIn).join();
    return names.includes(`${name}-also`) || names.includes(`${name}-other`);
  };
  const own = target as Record<string, (...args: unknown[]) => unknown>;
  const original = own[method] as (...args: unknown[]) => unknown;
  const spy = vi.spyOn(own, method).mockImplementation(function (this: unknown, ...args) {
    if ((reached > 0 && !always) || isBystanders([this, ...args])) return original.apply(this, args);
    reached++;
    if (instead !== undefined) return instead();
    throw new Error("injected");
  });
  return { reached: () => reached, end: () => spy.mockRestore() };
}

async function follow(setup: Setup, sub: string, room: string, keeps: boolean): Promise<WsClient> {
  await setup.members.insertOne({ _id: sub, user: sub, room });
  const client = await setup.connect({ sub, role: "member", ...(keeps ? { keeps } : {}) });
  // A live query of its own.
  await client.ask({ type: "subscribe", id: "a", collection: "items", filter: { _id: { $ne: sub } } });
  await client.fence(await setup.now());
  return client;
}

/** Steps at which a fault was met, by whatever withdrawal. */
const everReached = new Set<string>();

const received = (client: WsClient) => JSON.stringify(client.received);

/** One cell: the trigger, with a fault at one step of the first of those whom it hits. */
async function play(setup: Setup, name: string, trigger: (typeof TRIGGERS)[string], steps: readonly Step[]) {
  const { items, now } = setup;
  const victim = await follow(setup, `${name}-victim`, `${name}-v`, false);
  // Withdrawn by the same commit, or by the same edit; under the token of its own it keeps its rights.
  const also = await follow(setup, `${name}-also`, `${name}-a`, false);
  const other = await follow(setup, `${name}-other`, `${name}-o`, true);
  await items.insertMany(
    ["v", "a", "o"].map((room) => ({ _id: `${name}-before-${room}`, room: `${name}-${room}` })),
  );
  for (const client of [victim, also, other]) await client.fence(await now());
  const faults = steps.map((step) => inject(step, name));
  try {
    await trigger(setup, victim, name);
    // The commit, the token or the edit has arrived; what is written now comes after it.
    if (victim.closed === undefined) {
      await victim
        .until(
          ({ type, id }) =>
            type === "unsubscribed" || type === "refreshed" || (type === "subscribed" && id === "a"),
          victim.received.length === 0
            ? 0
            : victim.received.findLastIndex(({ type }) => type === "fenced") + 1,
          1_000,
        )
        .catch(() => {}); // some faults leave it silent
    }
    await setup.service.readiness();
    await items.insertMany(
      ["v", "a", "o"].map((room) => ({ _id: `${name}-after-${room}`, room: `${name}-${room}` })),
    );
    await other.fence(await now());
    if (also.closed === undefined) await also.fence(await now());
    return { victim, also, other, isReached: faults.every(({ reached }) => reached() > 0) };
  } finally {
    for (const fault of faults) fault.end();
  }
}

test.each(Object.entries(TRIGGERS))(
  "[G5] a fault at any step of withdrawing rights by %s leaks nothing and affects no other client",
  async (how, trigger) => {
    const setup = await start();
    const steps = Object.entries(STEPS);
    const reached: string[] = [];
    for (const [index, [what, step]] of steps.entries()) {
      const name = `c${index}`;
      const cell = await play(setup, name, trigger, [step ?? []].flat());
      const context = `${how}; fault where ${what}`;
      expect(received(cell.victim), `${context}: before`).toContain(`${name}-before-v`);
      expect(received(cell.victim), `${context}: the victim receives nothing of later`).not.toContain(
        `${name}-after-v`,
      );
      const alsoLoses = !how.startsWith("a token");
      if (alsoLoses)
        expect(received(cell.also), `${context}: nor does the other`).not.toContain(`${name}-after-a`);
      else expect(received(cell.also), `${context}: another user keeps it`).toContain(`${name}-after-a`);
      expect(cell.other.closed, `${context}: a bystander stays`).toBeUndefined();
      // The loss of a set is everybody's.
      if (how === "the loss of a set") expect(received(cell.other), context).not.toContain(`${name}-after-o`);
      else expect(received(cell.other), `${context}: a bystander receives it`).toContain(`${name}-after-o`);
      if (how === "an edit of the rules") await setup.edit(RULES);
      for (const client of [cell.victim, cell.also, cell.other]) client.socket.terminate();
      if (cell.isReached) reached.push(what);
    }
    expect(setup.unhandled).toEqual([]);
    for (const what of reached) everReached.add(what);
  },
);

test("each step was reached, and failed, in one of the withdrawals at least", () => {
  expect(Object.keys(STEPS).filter((what) => !everReached.has(what))).toEqual([]);
});
