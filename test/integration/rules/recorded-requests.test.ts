import { expect, onTestFinished, test } from "vitest";
import { REQUESTS_MAX, RequestStore } from "../../../src/source/request-store.ts";
import { configFile, runCommand } from "../../support/command.ts";
import { testDatabase, until } from "../../support/mongod.ts";
import { startTestService } from "../../support/service.ts";

const EVERYONE = { items: { rules: [{ name: "everyone" }] } };
const OWN = { items: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] } };

test("a node records requests, and plan --recorded and rules push --dry-run replay them over a draft", async () => {
  const { client, name, file, connect } = await startTestService({
    collections: OWN,
    rules: { from: "database", record: "7d" },
  });
  const ada = await connect({ sub: "ada", email: "not recorded" });
  await ada.ask({ type: "subscribe", id: "a", collection: "items", filter: { open: true } });
  await ada.ask({ type: "subscribe", id: "b", collection: "items", filter: { open: false } });
  ada.socket.terminate();
  const requests = client.db(`${name}-state`).collection("requests");
  await until("both requests", async () => (await requests.countDocuments()) === 2 || undefined);
  expect(JSON.stringify(await requests.find().toArray())).not.toContain("not recorded");

  const config = await configFile(file);
  const draft = await configFile({ parent: 1, collections: EVERYONE }, "rules.json");
  const push = await runCommand(["rules", "push", draft, "--dry-run", "--config", config]);
  expect(push).toMatchObject({ code: 0, out: expect.stringContaining("recorded: 2 requests: 2 gains\n") });
  expect(push.out).toContain('gains     {"sub":"ada"} {"collection":"items","filter":{"open":true}}');

  const edited = await configFile({ ...file, rules: {}, collections: EVERYONE }, "edited.json");
  const current = await configFile({ ...file, rules: {}, collections: OWN }, "current.json");
  const plan = ["plan", "--config", edited, "--against", current, "--recorded"];
  expect(await runCommand(plan)).toMatchObject({
    code: 0,
    out: expect.stringContaining("recorded: 2 requests: 2 gains"),
  });
  expect(JSON.parse((await runCommand([...plan, "--json"])).out)).toMatchObject({
    recorded: { requests: 2, effects: { gains: 2 } },
  });
  await requests.deleteMany({});
  expect((await runCommand(plan)).out).toContain("recorded: nothing. Set rules.record");
});

test("keeps the latest requests up to the limit, also if many expire at the same moment", async () => {
  const { db } = await testDatabase();
  onTestFinished(() => db.dropDatabase().then(() => {}));
  const store = new RequestStore(db);
  const at = (ms: number) => new Date(Date.now() + 1_000_000 + ms);
  const batch = (from: number, count: number) =>
    Array.from({ length: count }, (_, n) => ({ id: `r${from + n}`, text: `${from + n}` }));
  await store.save(batch(0, REQUESTS_MAX - 10), at(0));
  await store.save(batch(REQUESTS_MAX - 10, 10), at(1));
  expect(await db.collection("requests").countDocuments()).toBe(REQUESTS_MAX);
  await store.save(batch(REQUESTS_MAX, 5), at(2));
  expect(await db.collection("requests").countDocuments()).toBe(REQUESTS_MAX);
  const texts = await store.all(Date.now());
  expect(texts.slice(0, 5).sort()).toEqual(batch(REQUESTS_MAX, 5).map(({ text }) => text));
  expect(await store.all(at(3).getTime())).toEqual([]);
});
