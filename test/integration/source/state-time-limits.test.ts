/** The commands of the stores of the service's own state: MongoDB gives up each read and each index by itself. */
import { MongoClient } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { AuditStore } from "../../../src/source/audit-store.ts";
import { CheckpointStore } from "../../../src/source/checkpoint-store.ts";
import { EpochStore } from "../../../src/source/epoch-store.ts";
import { LostRightStore } from "../../../src/source/lost-right-store.ts";
import { NodeRulesStore } from "../../../src/source/node-rules-store.ts";
import { NodeStatusStore } from "../../../src/source/node-status-store.ts";
import { RequestStore } from "../../../src/source/request-store.ts";
import { RevocationStore } from "../../../src/source/revocation-store.ts";
import { RuleSetStore } from "../../../src/source/rule-set-store.ts";
import { RuleTimeStore } from "../../../src/source/rule-time-store.ts";
import { SealingKeyStore } from "../../../src/source/sealing-keys.ts";
import { UrlKeyStore } from "../../../src/source/url-key-store.ts";
import { testDatabase } from "../../support/mongod.ts";
import { draftOf } from "../../support/rule-sets.ts";

/** Commands that may take long. Writes have the time limit of their write concern, and are small. */
const LIMITED = new Set(["find", "aggregate", "count", "distinct", "createIndexes"]);

test("every read and every index of the state has a time limit in the command itself", async () => {
  const { uri, name } = await testDatabase();
  const client = await MongoClient.connect(uri, { monitorCommands: true });
  onTestFinished(() => client.close());
  const database = client.db(`${name}-state`);
  onTestFinished(() => database.dropDatabase().then(() => {}));
  const seen = new Set<string>();
  const unlimited: string[] = [];
  client.on("commandStarted", ({ commandName, command, databaseName }) => {
    if (databaseName !== database.databaseName || !LIMITED.has(commandName)) return;
    const text = `${commandName} ${command[commandName]}`;
    seen.add(text);
    if (typeof command["maxTimeMS"] !== "number") unlimited.push(text);
  });
  const nowMs = Date.now();
  const soon = new Date(nowMs + 60_000);
  const audit = new AuditStore(database, "n", 3_600_000);
  await audit.add({ admin: "token", act: "a", target: {}, from: "" }, nowMs);
  await audit.list({ limit: 1 });
  await new CheckpointStore(database, "default", "n").load();
  await new EpochStore(database).current("0");
  await new LostRightStore(database).save(new Map([["a", "b"]]), soon);
  await new LostRightStore(database).load(["a"]);
  const rules = new NodeRulesStore(database);
  await rules.report("n", "1", { generation: 1, clusterTime: 0n, behind: null }, true);
  await rules.live();
  await new NodeStatusStore(database).all();
  const requests = new RequestStore(database);
  await requests.save([{ id: "a", text: "{}" }], soon);
  await requests.all(nowMs);
  const revocations = new RevocationStore(database);
  await revocations.list(nowMs);
  await revocations.page({ limit: 1 }, nowMs);
  await revocations.bytes(nowMs);
  await revocations.cleanUp(nowMs);
  const sets = new RuleSetStore(database);
  await sets.push(draftOf({}, 0), 1);
  await new RuleTimeStore(database).load();
  await new SealingKeyStore(database).load();
  const keys = new UrlKeyStore(database);
  await keys.add({ id: "a", user: "u", sealed: "s" }, nowMs, nowMs + 60_000, 1);
  await keys.find("a");
  expect(unlimited).toEqual([]);
  expect([...seen].filter((text) => text.startsWith("createIndexes"))).not.toEqual([]);
  expect(seen.size).toBeGreaterThan(15);
});
