import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { SEALED, Sealer } from "../../../src/feed/sealer.ts";

const keyOf = (id: number) => ({ id, key: randomBytes(32) });
const START_MS = 1_700_000_000_000;

test("a node opens a text that another node sealed, and the sealed text reveals nothing", async () => {
  const keys = [keyOf(7)];
  const [one, other] = [new Sealer(keys, async () => keys), new Sealer(keys, async () => keys)];
  const sealed = one.seal(SEALED.ticket, "a secret");
  expect(sealed).toMatch(/^[\w-]+$/);
  expect(Buffer.from(sealed, "base64url").toString("latin1")).not.toContain("secret");
  expect(await other.open(SEALED.ticket, sealed)).toBe("a secret");
  expect(one.seal(SEALED.ticket, "a secret")).not.toBe(sealed);
});

test("a sealed text of one kind never opens as another kind", async () => {
  const keys = [keyOf(1)];
  const sealer = new Sealer(keys, async () => keys);
  expect(await sealer.open(SEALED.urlIdentity, sealer.seal(SEALED.ticket, "x"))).toBeNull();
  expect(await sealer.open(SEALED.ticket, sealer.seal(SEALED.urlIdentity, "x"))).toBeNull();
});

test("a text that was sealed with a secret opens with that secret and no other, also for a holder of the keys", async () => {
  const keys = [keyOf(1)];
  const sealer = new Sealer(keys, async () => keys);
  const sealed = sealer.seal(SEALED.urlIdentity, "claims", "the secret");
  const open = (secret?: string) => sealer.open(SEALED.urlIdentity, sealed, START_MS, secret);
  expect(await open("the secret")).toBe("claims");
  for (const other of [undefined, "", "another secret"]) expect(await open(other)).toBeNull();
  const stranger = new Sealer([keyOf(1)], async () => []);
  expect(await stranger.open(SEALED.urlIdentity, sealed, START_MS, "the secret")).toBeNull();
  expect(
    await sealer.open(SEALED.urlIdentity, sealer.seal(SEALED.urlIdentity, "x"), START_MS, "s"),
  ).toBeNull();
});

test("a key that was rotated away opens until it is gone; a newer one is fetched, not for every invented text", async () => {
  const [first, second, third] = [keyOf(1), keyOf(2), keyOf(3)];
  let valid = [first];
  let loads = 0;
  const load = async () => {
    loads++;
    return valid;
  };
  const node = new Sealer([first], load);
  const old = node.seal(SEALED.ticket, "old");
  // However lately the keys were read as they are every so often.
  await node.reload();
  valid = [second, first];
  const newer = new Sealer(valid, load).seal(SEALED.ticket, "new");
  const both = [node.open(SEALED.ticket, newer, START_MS), node.open(SEALED.ticket, newer, START_MS)];
  expect(await Promise.all(both)).toEqual(["new", "new"]);
  expect(await node.open(SEALED.ticket, old)).toBe("old");
  expect(loads).toBe(2);
  valid = [third, second];
  const newest = new Sealer(valid, load).seal(SEALED.ticket, "newest");
  expect(await node.open(SEALED.ticket, newest, START_MS + 999)).toBeNull();
  expect(loads).toBe(2);
  expect(await node.open(SEALED.ticket, newest, START_MS + 1_000)).toBe("newest");
  expect(loads).toBe(3);
  expect(await node.open(SEALED.ticket, old, START_MS + 1_001)).toBeNull();
  expect(loads).toBe(3);
});

test("while keys cannot be read, it is unknown whether a text sealed with an unknown one is genuine", async () => {
  const node = new Sealer([keyOf(1)], () => Promise.reject(new Error("no server")));
  const other = new Sealer([keyOf(2)], async () => []);
  const sealed = other.seal(SEALED.ticket, "x");
  for (const ms of [0, 1]) {
    await expect(node.open(SEALED.ticket, sealed, START_MS + ms)).rejects.toMatchObject({
      code: "unavailable",
    });
  }
});

test("a mark verifies one text only, and only with the keys of the service", async () => {
  const [first, second] = [keyOf(1), keyOf(2)];
  const sealer = new Sealer([first], async () => [second, first]);
  const mark = sealer.mark("text");
  expect(mark.length).toBeLessThanOrEqual(22);
  expect(await sealer.isMarked("text", mark)).toBe(true);
  expect(await sealer.isMarked("other", mark)).toBe(false);
  for (const wrong of ["", "x", `${mark}A`, mark.slice(1), `B${mark.slice(1)}`]) {
    expect(await sealer.isMarked("text", wrong), wrong).toBe(false);
  }
  await sealer.reload();
  expect(sealer.mark("text")).not.toBe(mark);
  expect(await sealer.isMarked("text", mark)).toBe(true);
  const stranger = new Sealer([keyOf(1)], async () => []);
  expect(await stranger.isMarked("text", mark)).toBe(false);
});
