/** Clients of other people's making, and our examples in other languages, against the service. */
import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { EventSource } from "eventsource";
import { beforeAll, expect, onTestFinished, type TestContext, test } from "vitest";
import type { ServerMessage } from "../../../src/protocol/messages.ts";
import { ROOT } from "../../support/build.ts";
import { FaultProxy } from "../../support/fault-proxy.ts";
import { ask, urlOf } from "../../support/http-client.ts";
import { COLLECTIONS, startHttpService } from "../../support/http-service.ts";
import { isWithout, skipWithout } from "../../support/installed.ts";
import { MessageFollower } from "../../support/message-follower.ts";
import { testDatabase } from "../../support/mongod.ts";
import { differencesOf, Oracle, textOf } from "../../support/oracle.ts";
import { Program } from "../../support/program.ts";
import { pythonWith } from "../../support/python.ts";
import { Random } from "../../support/random.ts";
import { RandomWriter } from "../../support/random-writer.ts";
import { signToken, testConfig, toConfig } from "../../support/service.ts";
import { type ServiceConfig, spawnService } from "../../support/spawn-service.ts";

const PATIENCE = { timeout: 60_000 };
const example = (path: string) => join(ROOT, "examples", path);

const REQUIREMENTS = readFileSync(example("python/requirements.txt"), "utf8").trim().split("\n");

/** Where there is no Python, or nowhere to install from, the tests that need it are skipped and say so. */
let python: Awaited<ReturnType<typeof pythonWith>>;
beforeAll(async () => {
  python = await pythonWith(...REQUIREMENTS, "sseclient-py==1.9.0");
});

const pythonOrSkip = (skip: TestContext["skip"]): string =>
  "python" in python ? python.python : skipWithout(skip, python.missing);

/** The service, reached through a proxy that can cut connections. */
async function start() {
  const world = await startHttpService({
    server: { sseRetry: "100ms", reconnect: { min: "10ms", max: "100ms" } },
  });
  const proxy = await FaultProxy.start(world.service.address.port);
  return { ...world, proxy, host: `127.0.0.1:${proxy.port}` };
}

/** Ends every subscription to `items` for good. */
async function withdraw({ service, file }: Awaited<ReturnType<typeof start>>): Promise<void> {
  const rules = [{ name: "nobody", when: { "%%user.roles": "none" } }];
  await service.reload(toConfig({ ...file, collections: { ...COLLECTIONS, items: { rules } } }));
}

test("EventSource follows with a key, comes back by itself, and stops where the subscription has ended", async () => {
  const world = await start();
  const { host, items, key: giveKey, proxy } = world;
  await items.insertOne({ _id: 1, owner: "u1" });
  const key = await giveKey();
  const source = new EventSource(urlOf(`http://${host}`, "/v1/sse", { collection: "items", key }));
  onTestFinished(() => source.close());
  const seen: unknown[] = [];
  for (const type of ["subscribed", "snapshot", "added", "unsubscribed"]) {
    source.addEventListener(type, ({ data }) => {
      const { start, doc } = JSON.parse(data);
      seen.push(start ?? doc ?? type);
    });
  }
  await expect.poll(() => seen, PATIENCE).toEqual(["snapshot", "snapshot"]);
  proxy.cut();
  await items.insertOne({ _id: 2, owner: "u1" });
  const whatWasMissed = ["snapshot", "snapshot", "resumed", { _id: 2, owner: "u1" }];
  await expect.poll(() => seen, PATIENCE).toEqual(whatWasMissed);
  await withdraw(world);
  await expect.poll(() => source.readyState, PATIENCE).toBe(source.CLOSED);
  expect(seen).toEqual([...whatWasMissed, "unsubscribed"]);
});

test("curl follows, comes back where it was, and ends where the subscription has ended", async ({ skip }) => {
  skip(isWithout("curl"), "no curl here");
  const world = await start();
  const { host, items, proxy } = world;
  await items.insertMany([
    { _id: 1, owner: "u1", n: 1, text: 'a\n\\n"b\tä  ' },
    { _id: 2, owner: "u1" },
  ]);
  const curl = new Program("sh", [example("curl/sse.sh"), `http://${host}`, "items", '{"n": 1}'], {
    TIDEWIRE_TOKEN: await signToken({ sub: "u1" }),
  });
  await expect
    .poll(() => curl.ofType("snapshot"), PATIENCE)
    .toMatchObject([{ docs: [{ _id: 1, n: 1, text: 'a\n\\n"b\tä  ' }] }]);
  proxy.cut();
  await items.insertOne({ _id: 3, owner: "u1", n: 1 });
  await expect.poll(() => curl.ofType("added"), PATIENCE).toMatchObject([{ doc: { _id: 3 } }]);
  expect(curl.ofType("subscribed").map(({ start }) => start)).toEqual(["snapshot", "resumed"]);
  await withdraw(world);
  await expect.poll(() => curl.code, PATIENCE).toBe(0);
  expect(curl.lines.at(-1)).toMatchObject({ type: "unsubscribed", reason: "forbidden" });
});

test("curl's example ends with the service's words where it is refused", async ({ skip }) => {
  skip(isWithout("curl"), "no curl here");
  const { host } = await start();
  const curl = new Program("sh", [example("curl/sse.sh"), `http://${host}`, "items"], {
    TIDEWIRE_TOKEN: "nonsense",
  });
  await expect.poll(() => curl.code, PATIENCE).toBe(1);
  expect(curl.errors.join()).toContain('"unauthenticated"');
});

test("the Python example follows, resumes after a break, and says why it ends", async ({ skip }) => {
  const python3 = pythonOrSkip(skip);
  const world = await start();
  const { host, items, proxy } = world;
  await items.insertOne({ _id: 1, owner: "u1" });
  const program = new Program(python3, [example("python/follow.py"), `ws://${host}/v1/ws`, "items"], {
    TIDEWIRE_TOKEN: await signToken({ sub: "u1" }),
  });
  await expect
    .poll(() => [program.ofType("snapshot"), program.errors], PATIENCE)
    .toMatchObject([[{ docs: [{ _id: 1 }] }], []]);
  for (let _id = 2; _id < 5; _id++) {
    proxy.cut();
    await items.insertOne({ _id, owner: "u1" });
    await expect.poll(() => program.ofType("added").length, PATIENCE).toBe(_id - 1);
  }
  const starts = program.ofType("subscribed").map(({ start }) => start);
  expect([starts[0], new Set(starts.slice(1))]).toEqual(["snapshot", new Set(["resumed"])]);
  await withdraw(world);
  await expect.poll(() => program.code, PATIENCE).toBe(1);
  expect(program.errors).toEqual(["the subscription has ended: forbidden"]);
});

test("the Python example stops where coming back would not help, after as many tokens as the protocol allows", async ({
  skip,
}) => {
  const python3 = pythonOrSkip(skip);
  const { host } = await start();
  const run = async (collection: string, token: string) => {
    const program = new Program(python3, [example("python/follow.py"), `ws://${host}/v1/ws`, collection], {
      TIDEWIRE_TOKEN: token,
    });
    await expect.poll(() => program.code, PATIENCE).toBe(1);
    return program.errors.join();
  };
  expect(await run("items", "nonsense")).toContain("closed with 4401");
  expect(await run("items", await signToken({ sub: "u1" }, -60))).toContain("closed with 4100");
  expect(await run("staff", await signToken({ sub: "u1" }))).toContain("forbidden");
});

test("sseclient-py, a client that knows nothing of us, reads the stream", async ({ skip }) => {
  const python3 = pythonOrSkip(skip);
  const { url, items } = await start();
  await items.insertOne({ _id: 1, owner: "u1", text: "ä€\n\u2028\u0000" });
  const script = [
    "import json, os, sys, urllib.request, sseclient",
    "request = urllib.request.Request(sys.argv[1], headers={'Authorization': 'Bearer ' + os.environ['TIDEWIRE_TOKEN']})",
    "for event in sseclient.SSEClient(urllib.request.urlopen(request)).events():",
    "    print(json.dumps({'type': event.event, 'id': event.id, 'data': json.loads(event.data)}), flush=True)",
  ].join("\n");
  const program = new Program(python3, ["-c", script, url("/v1/sse")], {
    TIDEWIRE_TOKEN: await signToken({ sub: "u1" }),
  });
  await expect
    .poll(() => [program.ofType("snapshot"), program.errors], PATIENCE)
    .toMatchObject([[{ data: { docs: [{ _id: 1, owner: "u1", text: "ä€\n\u2028\u0000" }] } }], []]);
  await items.insertOne({ _id: 2, owner: "u1" });
  await expect.poll(() => program.ofType("added"), PATIENCE).toMatchObject([{ data: { doc: { _id: 2 } } }]);
});

/** Comes back with the last id, as the standard has it; the library leaves that to its user. */
const SSE_SCRIPT = `
import http.client, json, os, sys, time, urllib.request, sseclient
headers = {"Authorization": "Bearer " + os.environ["TIDEWIRE_TOKEN"]}
while True:
    try:
        with urllib.request.urlopen(urllib.request.Request(sys.argv[1], headers=headers)) as answer:
            for event in sseclient.SSEClient(answer).events():
                message = json.loads(event.data)
                print(json.dumps(message), flush=True)
                if event.id:
                    headers["Last-Event-ID"] = event.id
    except (OSError, ValueError, http.client.HTTPException):
        pass  # gone, or cut off in the middle of an event
    time.sleep(0.1)
`;

const RULE = {
  name: "owner",
  filter: { owner: "%%user.sub" },
  fields: { exclude: ["secret", "meta.hidden"] },
};

test("[G2] curl, websockets and sseclient-py lose nothing while the service is killed and started again", async ({
  skip,
}) => {
  skip(isWithout("curl"), "no curl here");
  const python3 = pythonOrSkip(skip);
  const seed = Number(process.env["TIDEWIRE_TEST_SEED"] ?? randomInt(2 ** 31));
  console.log(`seed ${seed}`);
  const { client, db, name, uri } = await testDatabase();
  const server = { sseRetry: "100ms", heartbeat: "1s", reconnect: { min: "10ms", max: "100ms" } };
  const file = testConfig(uri, name, { collections: { things: { rules: [RULE] } }, server });
  const config = { ...file, log: { level: "info" } } as unknown as ServiceConfig; // the parts that tests look at
  const service = await spawnService({ config });
  const isReady = () =>
    ask("GET", `${service.url}/readyz`).then(
      ({ status }) => status,
      () => 0,
    );
  await expect.poll(isReady, PATIENCE).toBe(200);
  const oracle = new Oracle(client, `${name}-state`);
  await oracle.learnEpoch();
  const env = { TIDEWIRE_TOKEN: await signToken({ sub: "u1" }) };
  const { host, port } = service.listening;
  const programs = [
    new Program("sh", [example("curl/sse.sh"), service.url, "things"], env),
    new Program(python3, [example("python/follow.py"), `ws://${host}:${port}/v1/ws`, "things"], env),
    new Program(python3, ["-c", SSE_SCRIPT, urlOf(service.url, "/v1/sse", { collection: "things" })], env),
  ];
  const starts = () => programs.map((program) => program.ofType("subscribed").length);
  await expect.poll(() => starts().every((count) => count > 0), PATIENCE).toBe(true);
  const writer = new RandomWriter(client, db, "things", new Random(seed));
  const before = starts();
  await Promise.all([writer.write(150), service.restart("SIGKILL")]);
  await expect.poll(() => starts().every((count, at) => count > before[at]!), PATIENCE).toBe(true);
  await writer.write(50);
  const found = await db
    .collection("things")
    .find({ owner: "u1" }, { projection: { secret: 0, "meta.hidden": 0 } })
    .toArray();
  const expected = new Map(
    found.map((thing) => [textOf(thing["_id"], "json"), textOf(thing, "json")] as const),
  );
  for (const program of programs) {
    const follow = () => {
      const follower = new MessageFollower(oracle);
      for (const line of program.lines) follower.take(line as unknown as ServerMessage); // so the protocol says
      return follower;
    };
    await expect.poll(() => differencesOf(follow().held.documents, expected), PATIENCE).toEqual([]);
    expect(follow().faults).toEqual([]);
    expect(follow().starts).toContain("resumed");
  }
});
