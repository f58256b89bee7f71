/** Both sides of `mongodb.connectTimeout` and `mongodb.startTimeout`, on a real mongod behind a proxy. */
import { expect, test } from "vitest";
import { StartupError } from "../../../src/source/startup-error.ts";
import { testDatabase } from "../../support/mongod.ts";
import { recordingLog, startNode } from "../../support/node.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";

const PATIENCE = { timeout: 60_000 };
const RETRY = "MongoDB cannot be reached yet; trying again until mongodb.startTimeout";

/** A proxy before the shared mongod, and the start of a node that knows MongoDB only by the proxy. */
async function behindProxy() {
  const { uri, name } = await testDatabase();
  const proxy = await TcpProxy.start(Number(new URL(uri).port));
  const { log, warnings } = recordingLog();
  const start = (mongodb: Record<string, unknown>) =>
    startNode(
      `mongodb://127.0.0.1:${proxy.port}/?directConnection=true`,
      name,
      { collections: { things: { rules: [{ name: "all" }] } }, mongodb },
      log,
    );
  return { proxy, start, warnings };
}

const FIRST_ANSWER_MS = 2_000;

test("mongodb.connectTimeout: a server whose first answers take longer is considered down", async () => {
  const { proxy, start } = await behindProxy();
  proxy.delayFirstAnswers(FIRST_ANSWER_MS);
  const error = await start({ connectTimeout: "500ms", startTimeout: "0s" }).catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(StartupError);
  expect(error).toMatchObject({ message: expect.stringContaining("MongoDB cannot be reached") });
});

test("mongodb.connectTimeout: a server whose first answers take less time is used at the first attempt", async () => {
  const { proxy, start, warnings } = await behindProxy();
  proxy.delayFirstAnswers(FIRST_ANSWER_MS);
  const { service } = await start({ connectTimeout: "1m", startTimeout: "0s" });
  expect(service.readiness().ready).toBe(true);
  expect(warnings()).not.toContain(RETRY);
});

test("mongodb.startTimeout: a server that accepts and never answers is waited for until then, and no longer", async () => {
  const { proxy, start, warnings } = await behindProxy();
  proxy.freeze();
  const at = { once: Date.now(), longer: 0 };
  const once = await start({ connectTimeout: "500ms", startTimeout: "0s" }).catch((cause: unknown) => cause);
  expect(once).toBeInstanceOf(StartupError);
  expect(warnings(), "0s: a single attempt").not.toContain(RETRY);
  const attemptMs = Date.now() - at.once;
  at.longer = Date.now();
  const startTimeoutMs = Math.ceil(attemptMs / 1_000) * 1_000 + 2_000;
  const longer = await start({ connectTimeout: "500ms", startTimeout: `${startTimeoutMs}ms` }).catch(
    (cause: unknown) => cause,
  );
  expect(longer).toBeInstanceOf(StartupError);
  expect(longer).toMatchObject({ message: expect.stringContaining("MongoDB cannot be reached") });
  expect(Date.now() - at.longer).toBeGreaterThanOrEqual(startTimeoutMs);
});

test("mongodb.startTimeout: a server that answers before then is used", async () => {
  const { proxy, start, warnings } = await behindProxy();
  proxy.freeze();
  const started = start({ connectTimeout: "500ms", startTimeout: "5m" });
  started.catch(() => {});
  await expect.poll(warnings, PATIENCE).toContain(RETRY);
  await proxy.resume();
  expect((await started).service.readiness().ready).toBe(true);
});
