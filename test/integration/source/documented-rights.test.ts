/** The role of docs/operations.md, read from the page: everything works with it, and each part of it is needed. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { MongoClient } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { type PreflightOptions, preflight } from "../../../src/source/preflight.ts";
import { StartupError } from "../../../src/source/startup-error.ts";
import { ROOT } from "../../support/build.ts";
import { runConfigured } from "../../support/command.ts";
import { startReplicaSet, until } from "../../support/mongod.ts";
import { recordingLog, startNode } from "../../support/node.ts";
import { KEEPS_IMAGES, NO_IMAGES } from "../../support/server-features.ts";
import { signToken, testConfig } from "../../support/service.ts";
import { WsClient } from "../../support/ws-client.ts";

interface Role {
  readonly createRole: string;
  readonly privileges: readonly {
    readonly resource: Record<string, unknown>;
    readonly actions: readonly string[];
  }[];
}

async function documentedRole(): Promise<Role> {
  const page = await readFile(join(ROOT, "docs", "operations.md"), "utf8");
  const [, block] = /```json\n(\{\n {2}"createRole"[^`]*)```/.exec(page) ?? [];
  expect(block, "the role in docs/operations.md").toBeDefined();
  return JSON.parse(block ?? "{}") as Role;
}

/** A set with a login, and a user who has exactly the documented role. */
async function startWithRole() {
  const set = await startReplicaSet({ members: 1, auth: true });
  onTestFinished(() => set.stop());
  const root = await new MongoClient(set.uri).connect();
  onTestFinished(() => root.close());
  const role = await documentedRole();
  const admin = root.db("admin");
  await admin.command(role);
  await admin.command({ createUser: "app", pwd: "app", roles: [role.createRole] });
  return { root, admin, role, uri: set.uriFor({ user: "app", password: "app" }) };
}

test("exactly the documented role suffices: start, keys, tickets, lost rights, revocation, key rotation, resumption", async () => {
  const { root, uri } = await startWithRole();
  await root.db("shop").createCollection("things");
  const options = {
    collections: {
      things: { rules: [{ name: "own", filter: { owner: "%%user.sub", tenant: "%%user.tenant" } }] },
      missing: { rules: [{ name: "all" }] },
    },
    mongodb: { stateDatabase: "tidewire", images: KEEPS_IMAGES ? "required" : "off" },
    auth: { revocation: "on" },
  };
  const file = testConfig(uri, "shop", options);
  const { log, warnings } = recordingLog();
  const first = await startNode(uri, "shop", options, log);
  const http = first.url.replace("ws:", "http:").replace("/v1/ws", "");
  const token = await signToken({ sub: "ada", tenant: "a" });

  const client = await WsClient.connect(first.url, { token });
  const opened = await client.ask({ type: "subscribe", id: "a", collection: "things" });
  expect(opened).toMatchObject({ type: "subscribed" });

  const headers = { Authorization: `Bearer ${token}` };
  const issued = await fetch(`${http}/v1/key`, { method: "POST", headers });
  expect(issued.status).toBe(200);
  const { key } = (await issued.json()) as { key: string };
  const stream = await fetch(`${http}/v1/sse?key=${key}&collection=things`);
  expect(stream.status).toBe(200);
  await stream.body?.cancel();

  client.send({ type: "refresh", token: await signToken({ sub: "ada", tenant: "b" }) });
  const state = root.db("tidewire");
  await until("a saved loss", async () => (await state.collection("lostRights").countDocuments()) > 0);
  await client.close();

  expect(await runConfigured(file, "rotate-keys")).toMatchObject({ code: 0 });
  await first.service.stop();
  const second = await startNode(uri, "shop", options, log);
  const eve = await WsClient.connect(second.url, { token: await signToken({ sub: "eve", tenant: "a" }) });
  const { cursor, ticket } = await eve.ask({ type: "subscribe", id: "a", collection: "things" });
  await eve.close();
  const again = await WsClient.connect(second.url, { token: await signToken({ sub: "eve", tenant: "a" }) });
  const resumed = await again.ask({ type: "subscribe", id: "a", collection: "things", cursor, ticket });
  expect(resumed).toMatchObject({ start: "resumed" });

  expect(await runConfigured(file, "revoke", "--sub", "eve")).toMatchObject({ code: 0 });
  expect((await again.untilClosed()).code).toBe(4102);
  const hasTtl = async (name: string) =>
    (await state.collection(name).indexes()).some(({ expireAfterSeconds }) => expireAfterSeconds === 0);
  for (const name of ["urlKeys", "lostRights", "revocations"]) expect(await hasTtl(name), name).toBe(true);
  expect(await runConfigured(file, "new-epoch")).toMatchObject({ code: 0 });
  expect(warnings()).toEqual([]);
});

test("for each privilege of the documented role that is missing, the checks name the privilege to grant", async ({
  skip,
}) => {
  skip(!KEEPS_IMAGES, NO_IMAGES);
  const { root, admin, role, uri } = await startWithRole();
  const app = await new MongoClient(uri).connect();
  onTestFinished(() => app.close());
  const options: PreflightOptions = {
    collections: ["existing", "missing"].map((collection) => ({ database: "shop", collection })),
    stateDatabase: "tidewire",
    followState: {
      mode: "on",
      collections: [{ database: "tidewire", collection: "revocations" }],
      feature: "revocation",
      without: "auth.revocation: off",
    },
    images: "required",
  };
  const check = async () => {
    await root.db("shop").dropDatabase();
    await root.db("shop").createCollection("existing");
    try {
      return (await preflight(app, options)).warnings.join("\n");
    } catch (error) {
      if (error instanceof StartupError) return error.message;
      throw error;
    }
  };
  const { createRole: name } = role;
  for (const { resource, actions } of role.privileges) {
    for (const action of actions) {
      const privileges = [{ resource, actions: [action] }];
      await admin.command({ revokePrivilegesFromRole: name, privileges });
      const text = await check();
      expect(text, action).toMatch(new RegExp(`the user lacks .*\\b${action}\\b`));
      expect(text, action).toMatch(new RegExp(`grant \\{ resource: .*"?${action}"`));
      await admin.command({ grantPrivilegesToRole: name, privileges });
    }
  }
  expect(await check()).toBe("");
});
