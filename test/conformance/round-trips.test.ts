/**
 * [3.1] From the upgrade to `subscribed` a connection costs one round trip, and so does a resumption. The network between client and
 * service takes 100 ms in each direction, so that what is answered together is also sent together. Round trips are
 * counted by who speaks after whom, and not by the time.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { runCli } from "../../src/cli/run-cli.ts";
import { createClient } from "../../src/client/client.ts";
import { ROOT } from "../support/build.ts";
import { DelayProxy } from "../support/delay-proxy.ts";
import { skipWithout } from "../support/installed.ts";
import { Program } from "../support/program.ts";
import { pythonWith } from "../support/python.ts";
import { signToken, startTestService } from "../support/service.ts";
import { WsClient } from "../support/ws-client.ts";

const DELAY_MS = 100;
const PATIENCE = { timeout: 60_000 };
const SUBSCRIBED = '"type":"subscribed"';

async function start() {
  const { db, service } = await startTestService({
    collections: { orders: { rules: [{ name: "customer", filter: { customerId: "%%user.sub" } }] } },
    // No ping falls into the few round trips of a test.
    server: { heartbeat: "300s", reconnect: { min: "10ms", max: "100ms" } },
  });
  const orders = db.collection<{ _id: number; customerId: string }>("orders");
  await orders.insertOne({ _id: 1, customerId: "ada" });
  const proxy = await DelayProxy.start(service.address.port, DELAY_MS);
  const token = await signToken({ sub: "ada" });
  /** The round trips of each connection until it was subscribed: one for the upgrade, and the rest. */
  const roundTrips = () => proxy.roundTripsUntil(SUBSCRIBED);
  return { proxy, token, orders, roundTrips, host: `127.0.0.1:${proxy.port}` };
}

test("the client of the package needs one round trip for its queries, and one to resume them", async () => {
  const { proxy, token, orders, roundTrips, host } = await start();
  const client = createClient({ url: `http://${host}`, token: async () => token, WebSocket, logger: false });
  onTestFinished(() => client.close());
  const queries = ["a", "b", "c"].map((text) => client.collection("orders").find({ text: { $ne: text } }));
  for (const query of queries) query.subscribe(() => {});
  await Promise.all(queries.map((query) => query.snapshot()));
  expect(roundTrips()).toEqual([2]);
  proxy.cut();
  await orders.insertOne({ _id: 2, customerId: "ada" });
  await expect.poll(() => queries.map((query) => query.getState().data.length), PATIENCE).toEqual([2, 2, 2]);
  expect(roundTrips()).toEqual([2, 2]);
});

test("a client that waits for the welcome still works, and needs two", async () => {
  const { token, roundTrips, host } = await start();
  const client = await WsClient.connect(`ws://${host}/v1/ws`, { token });
  onTestFinished(() => client.socket.terminate());
  await client.ask({ type: "subscribe", id: "a", collection: "orders" });
  expect(roundTrips()).toEqual([3]);
});

test("`tidewire tail` needs one round trip", async () => {
  const { token, roundTrips, host } = await start();
  const out: string[] = [];
  const abort = new AbortController();
  onTestFinished(() => abort.abort());
  const io = {
    out: (text: string) => void out.push(text),
    err: () => {},
    env: {},
    now: Date.now,
    signal: abort.signal,
  };
  void runCli(["tail", "--collection", "orders", "--url", `ws://${host}`, "--token", token], io);
  await expect.poll(() => out.join(), PATIENCE).toContain('"_id":1');
  expect(roundTrips()).toEqual([2]);
});

test("the client of the README needs one round trip", async () => {
  const { token, roundTrips, host } = await start();
  const page = readFileSync(join(ROOT, "README.md"), "utf8");
  const [, code = ""] = /```js\n([\s\S]*?)```/.exec(page) ?? [];
  let shown: unknown[] = [];
  class KnownWebSocket extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url.replace("127.0.0.1:8480", host), protocols);
      onTestFinished(() => this.terminate());
    }
  }
  new Function("WebSocket", "token", "show", code)(KnownWebSocket, token, (list: unknown[]) => {
    shown = list;
  });
  await expect.poll(() => shown, PATIENCE).toEqual([{ _id: 1, customerId: "ada" }]);
  expect(roundTrips()).toEqual([2]);
});

test("the Python example needs one round trip, and one to resume", async ({ skip }) => {
  const requirements = readFileSync(join(ROOT, "examples", "python", "requirements.txt"), "utf8");
  const installed = await pythonWith(...requirements.trim().split("\n"), "sseclient-py");
  if (!("python" in installed)) return skipWithout(skip, installed.missing);
  const { proxy, token, orders, roundTrips, host } = await start();
  const example = join(ROOT, "examples", "python", "follow.py");
  const program = new Program(installed.python, [example, `ws://${host}/v1/ws`, "orders"], {
    TIDEWIRE_TOKEN: token,
  });
  await expect.poll(() => program.ofType("snapshot").length, PATIENCE).toBe(1);
  expect(roundTrips()).toEqual([2]);
  proxy.cut();
  await orders.insertOne({ _id: 2, customerId: "ada" });
  await expect.poll(() => program.ofType("added").length, PATIENCE).toBe(1);
  expect(roundTrips()).toEqual([2, 2]);
});
