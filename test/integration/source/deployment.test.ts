/** The clock of a deployment: asked once for many, and never believed where it seems to have gone back. */
import { expect, onTestFinished, test } from "vitest";
import { Deployment } from "../../../src/source/deployment.ts";
import { EpochStore } from "../../../src/source/epoch-store.ts";
import { identifyDeployment } from "../../../src/source/topology.ts";
import { testDatabase } from "../../support/mongod.ts";

async function startDeployment() {
  const { client, db, name } = await testDatabase({ monitorCommands: true });
  const state = client.db(`${name}-state`);
  onTestFinished(async () => {
    await state.dropDatabase();
  });
  const identify = async () => (await identifyDeployment(client)).id;
  const deployment = new Deployment(client, new EpochStore(state), identify);
  const asked: string[] = [];
  client.on("commandStarted", ({ commandName, command }) =>
    asked.push(`${commandName} ${command["readConcern"]?.level ?? ""}`.trim()),
  );
  return { db, deployment, asked };
}

test("its time is asked for once for all who wait, and is never older than the question", async () => {
  const { db, deployment, asked } = await startDeployment();
  const written: bigint[] = [];
  const times = await Promise.all(
    Array.from({ length: 200 }, async (_, n) => {
      if (n % 50 === 0) {
        const { operationTime } = await db.command({ insert: "things", documents: [{ n }] });
        written.push(operationTime.toBigInt());
        expect(await deployment.now()).toBeGreaterThanOrEqual(operationTime.toBigInt());
      }
      return deployment.now();
    }),
  );
  expect(times).toHaveLength(200);
  expect(asked.filter((command) => command === "ping").length).toBeLessThan(20);
  expect(asked).not.toContain("find linearizable");
});

test("a time before one that was seen is confirmed by a majority before it counts", async () => {
  const { deployment, asked } = await startDeployment();
  const now = await deployment.now();
  expect(await deployment.now(now)).toBeGreaterThanOrEqual(now);
  expect(asked).not.toContain("find linearizable");
  const future = now + (3_600n << 32n);
  const confirmed = await deployment.now(future);
  expect(confirmed).toBeGreaterThanOrEqual(now);
  expect(confirmed).toBeLessThan(future);
  expect(asked).toContain("find linearizable");
});
