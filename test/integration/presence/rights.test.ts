/** Rights to be in a room that are withdrawn, by a lookup, a token, an edit of the rules, a revocation, or the time. */
import { expect, test } from "vitest";
import { RevocationStore } from "../../../src/source/revocation-store.ts";
import { change, changesOf, enter, PATIENCE, startPresence } from "../../support/presence.ts";
import { signToken, toConfig } from "../../support/service.ts";

const BY_MEMBERSHIP = {
  rules: [{ name: "member", filter: { room: { $in: "%%lookup.rooms" } } }],
  lookups: { rooms: { collection: "members", filter: { user: "%%user.sub" }, value: "room" } },
};

/** The longest that an entry may be there after its right was withdrawn; generous, as the machine may be busy. */
const GONE_WITHIN_MS = 5_000;

async function startWithMembers(more: object = {}) {
  const started = await startPresence({ presence: { ttl: "60s", ...BY_MEMBERSHIP }, ...more });
  const members = started.db.collection("members");
  await members.insertMany([
    { user: "ada", room: "r1" },
    { user: "bob", room: "r1" },
  ]);
  await started.settled();
  return { ...started, members };
}

test("[3.5] an entry ends at the commit that ends its membership, and only that one", async () => {
  const { connect, follow, members, entries } = await startWithMembers();
  const follower = await follow("r1");
  const [ada, bob] = [await connect({ sub: "ada" }), await connect({ sub: "bob" })];
  expect(await enter(ada, "r1")).toMatchObject({ type: "entered" });
  expect(await enter(bob, "r1")).toMatchObject({ type: "entered" });
  expect(await enter(ada, "r2", { id: "f" })).toMatchObject({ code: "forbidden" });
  const atMs = performance.now();
  await members.deleteOne({ user: "ada" });
  expect(await change(ada, "left")).toEqual({ type: "left", id: "e", reason: "forbidden" });
  await change(follower, "removed");
  expect(performance.now() - atMs).toBeLessThan(GONE_WITHIN_MS);
  expect(await entries.find().toArray()).toMatchObject([{ user: "bob" }]);
  expect(await enter(ada, "r1")).toMatchObject({ code: "forbidden" });
  await members.insertOne({ user: "ada", room: "r1" });
  await expect.poll(async () => (await enter(ada, "r1")).type, PATIENCE).toBe("entered");
});

test("[3.5] the entry of a client that is cut off ends with its membership, too", async () => {
  const { connect, follow, members } = await startWithMembers();
  const follower = await follow("r1");
  const ada = await connect({ sub: "ada" });
  await enter(ada, "r1");
  await change(follower, "added");
  ada.socket.terminate();
  await members.deleteOne({ user: "ada" });
  await change(follower, "removed");
});

test("[3.5] a newer token without the right ends the entry, and one with it does not", async () => {
  const { connect, follow } = await startPresence({
    presence: { ttl: "60s", rules: [{ name: "staff", when: { "%%user.role": "staff" } }] },
  });
  const follower = await follow("r1");
  const ada = await connect({ sub: "ada", role: "staff" });
  await enter(ada, "r1");
  await change(follower, "added");
  const refresh = async (claims: object) => {
    const from = ada.received.length;
    ada.send({ type: "refresh", token: await signToken({ sub: "ada", ...claims }) });
    await ada.until(({ type }) => type === "refreshed", from);
  };
  await refresh({ role: "staff", n: 1 });
  expect(await enter(ada, "r1", { data: { n: 1 } })).toMatchObject({ type: "entered" });
  await refresh({ role: "guest" });
  expect(await change(ada, "left")).toMatchObject({ reason: "forbidden" });
  await change(follower, "removed");
  expect(changesOf(follower).map(({ type }) => type)).toEqual(["added", "changed", "removed"]);
});

test("[3.5] a token without the right that reconnects ends the entry of the one before", async () => {
  const { connect, follow } = await startPresence({
    presence: { ttl: "60s", rules: [{ name: "staff", when: { "%%user.role": "staff" } }] },
  });
  const follower = await follow("r1");
  const ada = await connect({ sub: "ada", role: "staff" });
  await enter(ada, "r1");
  await change(follower, "added");
  ada.socket.terminate();
  expect(await enter(await connect({ sub: "ada", role: "guest" }), "r1")).toMatchObject({
    code: "forbidden",
  });
  await change(follower, "removed");
});

test("[3.5] an edit of the rules ends the entries that it forbids", async () => {
  const { service, file, connect, follow } = await startPresence({
    presence: { ttl: "60s", rules: [{ name: "anyone" }] },
  });
  const [one, two] = [await follow("r1"), await follow("r2")];
  const ada = await connect({ sub: "ada" });
  await enter(ada, "r1", { id: "1" });
  await enter(ada, "r2", { id: "2" });
  await change(one, "added");
  await change(two, "added");
  const rules = [{ name: "one room", filter: { room: "r2" } }];
  await service.reload(toConfig({ ...file, presence: { ttl: "60s", rules } }));
  expect(await change(ada, "left")).toEqual({ type: "left", id: "1", reason: "forbidden" });
  await change(one, "removed");
  expect(changesOf(two)).toHaveLength(1);
});

test("[3.5] a revocation ends the entries of the user, connected or not", async () => {
  const { connect, follow, state } = await startPresence({
    presence: { ttl: "60s", rules: [{ name: "anyone" }] },
  });
  const follower = await follow("r1");
  const [here, gone] = [await connect({ sub: "ada" }), await connect({ sub: "ada" })];
  await enter(here, "r1");
  await enter(gone, "r1", { tab: "tab-2" });
  await enter(await connect({ sub: "bob" }), "r1");
  await expect.poll(() => changesOf(follower).length, PATIENCE).toBe(3);
  gone.socket.terminate();
  await new RevocationStore(state).revoke({
    sub: "ada",
    iss: null,
    jti: null,
    issuedBeforeMs: Date.now(),
    expiresAtMs: Date.now() + 3_600_000,
  });
  await expect
    .poll(() => changesOf(follower).map(({ type }) => type), PATIENCE)
    .toEqual(["added", "added", "added", "removed", "removed"]);
  expect(await here.untilClosed()).toMatchObject({ code: 4102 });
});

test("[3.5] an entry ends when its right runs out", async () => {
  const { connect, follow, db, settled } = await startPresence({
    rules: { nowStep: "1s" },
    presence: {
      ttl: "60s",
      rules: [{ name: "invited", filter: { room: { $in: "%%lookup.rooms" } } }],
      lookups: {
        rooms: {
          collection: "invitations",
          filter: { user: "%%user.sub", until: { $gt: "%%now" } },
          value: "room",
        },
      },
    },
  });
  await db
    .collection("invitations")
    .insertOne({ user: "ada", room: "r1", until: new Date(Date.now() + 4_000) });
  await settled();
  const follower = await follow("r1");
  const ada = await connect({ sub: "ada" });
  expect(await enter(ada, "r1")).toMatchObject({ type: "entered" });
  await change(follower, "added");
  await change(follower, "removed");
  expect(await change(ada, "left")).toMatchObject({ reason: "forbidden" });
});
