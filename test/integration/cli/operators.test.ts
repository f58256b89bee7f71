/** The commands for operators, run in this process on the service's own database. */
import { once } from "node:events";
import { createServer } from "node:net";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { startService } from "../../../src/server.ts";
import { configFile, runCommand } from "../../support/command.ts";
import { until } from "../../support/mongod.ts";
import { signToken, startTestService, toConfig } from "../../support/service.ts";
import { WsClient } from "../../support/ws-client.ts";

const COLLECTIONS = { things: { rules: [{ name: "everyone" }] } };

test("rotate-keys leaves the older key good for opening, and drops the one before it", async () => {
  const { file, db, client } = await startTestService({ collections: COLLECTIONS });
  const config = await configFile(file);
  expect(await runCommand(["rotate-keys", "--config", config])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^key 2 seals .*\nkey 1 still opens/),
  });
  expect(await runCommand(["rotate-keys", "--config", config])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^key 3 seals .*\nkey 2 still opens/),
  });
  const keys = await client.db(`${db.databaseName}-state`).collection("keys").findOne({});
  expect(keys?.["keys"].map((key: { id: number }) => key.id)).toEqual([3, 2]);
});

test("after new-epoch a service that starts answers every earlier cursor with history-lost", async () => {
  const { file, connect, service, db } = await startTestService({ collections: COLLECTIONS });
  const config = await configFile(file);
  const before = await connect({ sub: "u1" });
  const { cursor, ticket } = await before.ask({ type: "subscribe", id: "a", collection: "things" });
  await service.stop();
  const answer = await runCommand(["new-epoch", "--config", config, "--reason", "restored a backup"]);
  expect(answer).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^epoch \w{8} has begun, \w{8} has ended/),
  });
  const state = db.client.db(`${db.databaseName}-state`);
  expect(await state.collection("epochs").findOne({})).toMatchObject({ reason: "restored a backup" });

  const again = await restart(file);
  const after = await again.connect();
  const resumed = await after.ask({ type: "subscribe", id: "a", collection: "things", cursor, ticket });
  expect(resumed).toMatchObject({ start: "reset", reason: "history-lost" });
});

/** Another node on the same configuration. */
async function restart(file: Record<string, unknown>) {
  const service = await startService(toConfig(file), pino({ level: "silent" }));
  onTestFinished(() => service.stop());
  await until("a ready node", async () => service.readiness().ready);
  const url = `ws://127.0.0.1:${service.address.port}/v1/ws`;
  return { connect: async () => WsClient.connect(url, { token: await signToken({ sub: "u1" }) }) };
}

test("an operator's command says in a line that MongoDB cannot be reached", async () => {
  const { file } = await startTestService({ collections: COLLECTIONS });
  const nowhere = { ...file, mongodb: { ...(file["mongodb"] as object), uri: "mongodb://127.0.0.1:1/" } };
  expect(await runCommand(["rotate-keys", "--config", await configFile(nowhere)])).toMatchObject({
    code: 1,
    err: expect.stringMatching(
      /^tidewire rotate-keys: MongoDB cannot be reached: 127\.0\.0\.1:1 refuses connections\. /,
    ),
  });
});

test.each(["rotate-keys", "new-epoch"])(
  "%s has help, and reports the mistakes of its configuration",
  async (command) => {
    expect(await runCommand([command, "--config", "nowhere.yaml"])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^nowhere\.yaml:1:1: there is no such file/),
    });
    expect(await runCommand([command, "--help"])).toMatchObject({
      code: 0,
      out: expect.stringContaining("Examples:"),
    });
  },
);

test("start says in a line that its port is taken, and which option names another", async () => {
  const { file } = await startTestService({ collections: COLLECTIONS });
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  onTestFinished(() => void taken.close());
  const address = taken.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const args = ["--config", await configFile(file), "--port", String(address.port)];
  const answer = await runCommand(["start", ...args]);
  expect(answer.code).toBe(1);
  expect(answer.err).toMatch(/^tidewire start: cannot listen on 127\.0\.0\.1:\d+ \(EADDRINUSE\)\. .*--port/);
  expect(await runCommand(["start", "--port", "65536"])).toMatchObject({ code: 2 });
});
