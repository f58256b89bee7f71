/** `tidewire revoke` in this process, on the state database of a running node. */
import { MongoClient } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { configFile, runCommand } from "../../support/command.ts";
import { startReplicaSet } from "../../support/mongod.ts";
import { startTestService, testConfig } from "../../support/service.ts";

const COLLECTIONS = { things: { rules: [{ name: "everyone" }] } };
const START_MS = Date.parse("2026-05-04T12:00:00.250Z");

async function cli(file: object) {
  const config = await configFile(file);
  return (args: readonly string[], nowMs = START_MS) =>
    runCommand(["revoke", "--config", config, ...args], { now: () => nowMs });
}

test("revoke closes connections, --list shows it, --undo lets the token in again", async () => {
  const { file, connect } = await startTestService({ collections: COLLECTIONS });
  const revoke = await cli(file);
  const now = Date.now();
  const client = await connect({ sub: "ada" });
  expect(await revoke(["--sub", "ada", "--for", "2d"], now)).toMatchObject({
    code: 0,
    err: "",
    out: expect.stringMatching(/^revoked until \S+Z: sub "ada" issued not later than \S+Z$/),
  });
  expect((await client.untilClosed()).code).toBe(4102);
  const refused = await connect({ sub: "ada" });
  expect((await refused.untilClosed()).code).toBe(4102);
  expect(await revoke(["--list"], now)).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^sub "ada" issued not later than \S+Z, until \S+Z$/),
  });
  expect(await revoke(["--undo", "--sub", "eve"], now)).toMatchObject({
    code: 1,
    err: expect.stringContaining("no such revocation"),
  });
  expect(await revoke(["--undo", "--sub", "ada"], now)).toMatchObject({ code: 0 });
  await expect.poll(async () => (await connect({ sub: "ada" })).closed, { timeout: 60_000 }).toBeUndefined();
  expect(await revoke(["--list"], now)).toMatchObject({ code: 0, out: "nothing is revoked" });
});

test("saves the revocation of the flags, and removes expired revocations", async () => {
  const { file, client, name } = await startTestService({ collections: COLLECTIONS });
  const revoke = await cli(file);
  const saved = () =>
    client
      .db(`${name}-state`)
      .collection("revocations")
      .find({}, { projection: { _id: 0 } })
      .toArray();
  await revoke(["--sub", "ada", "--jti", "t1", "--iss", "https://a", "--for", "1h"]);
  const expiresAt = new Date(START_MS + 3_600_000);
  expect(await saved()).toEqual([{ sub: "ada", iss: "https://a", jti: "t1", issuedBefore: null, expiresAt }]);
  await revoke(["--sub", "ada", "--issued-before", "2026-05-01T00:00:00+02:00"], START_MS + 3_600_001);
  expect(await saved()).toEqual([
    {
      sub: "ada",
      iss: null,
      jti: null,
      issuedBefore: new Date("2026-04-30T22:00:00Z"),
      expiresAt: new Date(START_MS + 3_600_001 + 30 * 86_400_000),
    },
  ]);
});

test.each([
  [[], /name the user with --sub/],
  [["--sub", ""], /name the user with --sub/],
  [["--list", "--sub", "a"], /--list goes without --sub/],
  [["--undo", "--sub", "a", "--for", "1d"], /--undo goes without --for/],
  [["--sub", "a", "--jti", "b", "--issued-before", "now"], /leave one of them out/],
  [["--sub", "a", "--for", "30"], /--for takes a duration/],
  [["--sub", "a", "--for", "0s"], /--for takes a duration/],
  [["--sub", "a", "--issued-before", "yesterday"], /takes now, or a date with its zone/],
  [["--sub", "a", "--issued-before", "2026-05-04T12:00:00"], /takes now, or a date with its zone/],
])("the command line %j is not understood, and nothing is written", async (args, text) => {
  const revoke = await cli({});
  expect(await revoke(args)).toMatchObject({ code: 2, err: expect.stringMatching(text) });
});

test("says that nothing is refused where auth.revocation is off, or the user's rights do not suffice", async () => {
  const { file } = await startTestService({ collections: COLLECTIONS, auth: { revocation: "off" } });
  expect(await (await cli(file))(["--sub", "ada"])).toMatchObject({
    code: 1,
    out: expect.stringContaining("revoked until"),
    err: expect.stringMatching(/still accepted: auth\.revocation is off$/),
  });

  const set = await startReplicaSet({ members: 1, auth: true });
  onTestFinished(() => set.stop());
  const root = await new MongoClient(set.uri).connect();
  onTestFinished(() => root.close());
  const actions = ["find", "insert", "update", "remove"];
  await root.db("admin").command({
    createRole: "service",
    privileges: [
      { resource: { db: "shop", collection: "" }, actions: [...actions, "changeStream"] },
      { resource: { db: "tidewire", collection: "" }, actions },
    ],
    roles: [],
  });
  await root.db("admin").command({ createUser: "app", pwd: "app", roles: ["service"] });
  const uri = set.uriFor({ user: "app", password: "app" });
  const options = { collections: COLLECTIONS, mongodb: { stateDatabase: "tidewire" } };
  const revoke = await cli(testConfig(uri, "shop", options));
  expect(await revoke(["--sub", "ada"])).toMatchObject({
    code: 1,
    err: expect.stringMatching(/still accepted: .*the user lacks find, changeStream on every database/),
  });
  // The same user may follow the state where it lies among the collections.
  const shared = await cli(testConfig(uri, "shop", { ...options, mongodb: { stateDatabase: "shop" } }));
  expect(await shared(["--sub", "ada"])).toMatchObject({ code: 0, err: "" });
  const names = (await root.db("shop").listCollections().toArray()).map(({ name }) => name);
  expect(names.sort()).toEqual(["tidewire.audit", "tidewire.revocations"]);
});

test("refuses to revoke more than the nodes can hold, because they would accept no token at all", async () => {
  const { file, service } = await startTestService({
    collections: COLLECTIONS,
    auth: { revocationBytes: "1KiB" },
  });
  const revoke = await cli(file);
  const now = Date.now();
  let code = 0;
  let err = "";
  for (let index = 0; code === 0 && index < 20; index++)
    ({ code, err } = await revoke(["--sub", `user-${index}`], now));
  expect(err).toMatch(/^nothing was revoked: .*auth\.revocationBytes \(1KiB\)/);
  expect(service.readiness()).toMatchObject({ ready: true, status: "ready" });
});
