/** A server that is too old, which `npm run test:servers` provides: it is refused in words, by every way in. */
import { expect, onTestFinished, test } from "vitest";
import { startService } from "../../../src/server.ts";
import { StartupError } from "../../../src/source/startup-error.ts";
import { runConfigured } from "../../support/command.ts";
import { startReplicaSet } from "../../support/mongod.ts";
import { testConfig, toConfig } from "../../support/service.ts";

const binary = process.env["TIDEWIRE_OLD_MONGOD"];
const COLLECTIONS = { things: { rules: [{ name: "all" }] } };
const TOO_OLD = /MongoDB 4\.4\.2 is too old: 5\.0 or newer is needed\. Upgrade the server\./;

test.skipIf(binary === undefined)("mongod 4.4 is refused by the start and by check --connect", async () => {
  const set = await startReplicaSet({ members: 1, ...(binary === undefined ? {} : { binary }) });
  onTestFinished(() => set.stop());
  const file = testConfig(set.uri, "shop", { collections: COLLECTIONS });
  const error = await startService(toConfig(file)).catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(StartupError);
  expect(String(error)).toMatch(TOO_OLD);
  expect(await runConfigured(file, "check", "--connect")).toMatchObject({
    code: 1,
    text: expect.stringMatching(TOO_OLD),
  });
});

test.skipIf(binary === undefined)("mongod 4.4 is refused as the embedded server", async () => {
  const file = testConfig("embedded", "shop", { collections: COLLECTIONS, mongodb: { binary } });
  const error = await startService(toConfig(file)).catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(StartupError);
  expect(String(error)).toMatch(/a mongod 4\.4\.2, which is too old\. Name a mongod 5\.0 or newer/);
});
