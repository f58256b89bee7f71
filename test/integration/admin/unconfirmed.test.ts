/** Acts of admins while MongoDB gives no answer: the answer says what is known, and a repeated act does no harm. */
import { MongoClient } from "mongodb";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { digestOf } from "../../../src/admin/access/digest.ts";
import { API } from "../../../src/admin/api/endpoint.ts";
import { startService } from "../../../src/server.ts";
import { configFile, runCommand } from "../../support/command.ts";
import { startReplicaSet, until } from "../../support/mongod.ts";
import { pushRules } from "../../support/rule-sets.ts";
import { testConfig, toConfig } from "../../support/service.ts";

const SECRET = "the-secret-of-an-admin-while-mongodb-does-not-answer";
const TOKEN = {
  name: "ada",
  sha256: digestOf(SECRET).toString("hex"),
  roles: ["view", "edit", "act"],
};
const EVERYONE = { items: { rules: [{ name: "everyone" }] } };
const OWN = `collections:\n  items:\n    rules:\n      - name: own\n        filter: { owner: "%%user.sub" }\n`;

/** A service on a replica set of its own, whose commands can fail. */
async function start() {
  const set = await startReplicaSet({ members: 1 });
  onTestFinished(() => set.stop());
  const client = await MongoClient.connect(set.uri);
  onTestFinished(() => client.close());
  await pushRules(client, "shop", EVERYONE);
  const file = testConfig(set.uri, "shop", {
    collections: {},
    rules: { from: "database" },
    server: { node: "rack-1", admin: { port: 0, tokens: [TOKEN] } },
  });
  const service = await startService(toConfig(file), pino({ level: "silent" }));
  onTestFinished(() => service.stop());
  await until("readiness", async () => service.readiness().ready || undefined);
  const url = `http://127.0.0.1:${service.adminAddress.port}`;
  const ask = async (path: string, body?: object) => {
    const headers = { authorization: `Bearer ${SECRET}`, "content-type": "application/json" };
    const sent = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
    const answer = await fetch(url + API + path, { headers, ...sent });
    // biome-ignore lint/suspicious/noExplicitAny: each test reads the fields of its own request
    return { status: answer.status, body: (await answer.json()) as any };
  };
  /** Lets commands on one collection of the state fail, or wait. */
  const fail = async (collection: string, data: object) => {
    const namespace = `shop-state.${collection}`;
    await client.db("admin").command({
      configureFailPoint: "failCommand",
      mode: "alwaysOn",
      data: { ...data, namespace },
    });
  };
  const heal = () => client.db("admin").command({ configureFailPoint: "failCommand", mode: "off" });
  onTestFinished(async () => void (await heal()));
  return { url, ask, fail, heal, file };
}

const cut = (command: string) => ({ failCommands: [command], closeConnection: true });

test("an edit that MongoDB does not confirm in time may come into force later, and the answer says so", async () => {
  const { ask, fail, heal } = await start();
  const draft = { text: OWN, message: "owners only", parent: 1 };
  await fail("ruleSets", { failCommands: ["update"], blockConnection: true, blockTimeMS: 20_000 });
  expect(await ask("/rules/apply", draft)).toEqual({
    status: 504,
    body: {
      unconfirmed: { set: 2, text: expect.stringMatching(/not confirmed.*history.*never applied twice/) },
    },
  });
  await heal();
  await until(
    "the late edit",
    async () => (await ask("/rules/nodes")).body.nodes[0]?.generation === 2 || undefined,
  );
  expect(await ask("/rules/apply", draft)).toMatchObject({
    status: 409,
    body: { conflict: { inForce: 2, since: [{ number: 2, author: "token:ada", message: "owners only" }] } },
  });
});

test("an edit without an answer of its own is confirmed by the set in force", async () => {
  const { ask, fail } = await start();
  await fail("ruleSets", {
    failCommands: ["update"],
    writeConcernError: { code: 64, errmsg: "waiting for replication timed out" },
  });
  expect(await ask("/rules/apply", { text: OWN, message: "x", parent: 1 })).toMatchObject({
    status: 200,
    body: { applied: 2 },
  });
});

test("an edit whose set was not saved is never in force, and the answer says so", async () => {
  const { ask, fail, heal } = await start();
  const draft = { text: OWN, message: "x", parent: 1 };
  await fail("ruleSets", cut("insert"));
  expect(await ask("/rules/apply", draft)).toMatchObject({
    status: 503,
    body: { code: "unavailable", error: expect.stringContaining("nothing was applied") },
  });
  await heal();
  expect((await ask("/rules")).body.parent).toBe(1);
  expect((await ask("/rules/apply", draft)).body.applied).toBeGreaterThan(1);
});

test("a lost answer to an edit is no failure to the commands, and no success", async () => {
  const { ask, fail, heal, file, url } = await start();
  await fail("ruleSets", cut("update"));
  const edited = await configFile({
    ...file,
    parent: 1,
    collections: { items: { rules: [{ name: "all" }] } },
  });
  const env = { TIDEWIRE_ADMIN_TOKEN: SECRET };
  const unconfirmed = {
    code: 1,
    err: expect.stringMatching(/rule set \d+ is not confirmed: .*tidewire rules log .*never applied twice/),
  };
  expect(await runCommand(["rules", "push", edited, "-m", "x", "--admin", url], { env })).toMatchObject(
    unconfirmed,
  );
  expect(await runCommand(["rules", "revert", "1", "--admin", url], { env })).toMatchObject({ code: 0 });
  const config = await configFile(file);
  expect(await runCommand(["rules", "push", edited, "-m", "x", "--config", config])).toMatchObject(
    unconfirmed,
  );
  await heal();
  expect((await ask("/rules")).body.parent).toBe(1);
});

test("a revocation without an answer may have taken effect, and to repeat it does no harm", async () => {
  const { ask, fail, heal, file, url } = await start();
  await fail("revocations", { ...cut("insert"), failCommands: ["insert", "delete"] });
  const unconfirmed = {
    status: 504,
    body: { code: "unconfirmed", error: expect.stringMatching(/not confirmed.*GET \/api\/v1\/revocations/) },
  };
  expect(await ask("/revocations", { sub: "eve" })).toEqual(unconfirmed);
  expect(await ask("/revocations/undo", { sub: "eve" })).toEqual(unconfirmed);
  const err = expect.stringMatching(/not confirmed, and may have taken effect.*revoke --list/);
  const config = await configFile(file);
  expect(await runCommand(["revoke", "--sub", "eve", "--config", config])).toMatchObject({ code: 1, err });
  const env = { TIDEWIRE_ADMIN_TOKEN: SECRET };
  const atNode = await runCommand(["revoke", "--sub", "eve", "--admin", url], { env });
  expect(atNode).toMatchObject({ code: 1, err: expect.stringContaining("not confirmed") });
  await heal();
  expect((await ask("/revocations", { sub: "eve" })).status).toBe(200);
  expect((await ask("/revocations")).body.revocations).toMatchObject([{ sub: "eve" }]);
  expect((await ask("/audit?act=revoke")).body.entries.length).toBeGreaterThanOrEqual(3);
});
