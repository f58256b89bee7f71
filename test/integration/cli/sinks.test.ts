/** `tidewire sinks`: an admin looks at sinks, pauses them, and sends parked messages again. */
import { expect, test } from "vitest";
import { digestOf } from "../../../src/admin/access/digest.ts";
import type { AdminRole } from "../../../src/gateway/admin-options.ts";
import { runCommand } from "../../support/command.ts";
import { startTestService } from "../../support/service.ts";
import { WebhookReceiver } from "../../support/webhook-receiver.ts";

const PATIENCE = { timeout: 60_000, interval: 50 };
const secretOf = (name: string) => `the-secret-of-${name}-for-the-commands-of-a-test`;
const tokenOf = (name: string, roles: readonly AdminRole[]) => ({
  name,
  sha256: digestOf(secretOf(name)).toString("hex"),
  roles,
});

async function start() {
  const receiver = await WebhookReceiver.start();
  const tokens = [tokenOf("ada", ["view", "act", "documents"]), tokenOf("cyd", ["view"])];
  const retry = { attempts: 1 };
  const started = await startTestService({
    collections: { orders: { rules: [] } },
    server: { node: "rack-1", admin: { port: 0, tokens } },
    sinks: { late: { collection: "orders", filter: { status: "late" }, to: receiver.to, retry } },
  });
  const url = `http://127.0.0.1:${started.service.adminAddress.port}`;
  const as =
    (admin: string) =>
    (...args: string[]) =>
      runCommand(["sinks", ...args, "--admin", url], { env: { TIDEWIRE_ADMIN_TOKEN: secretOf(admin) } });
  const sinks = as("ada");
  await expect.poll(async () => (await sinks("list")).out, PATIENCE).toContain("late: running");
  return { ...started, receiver, sinks, as };
}

test("lists, pauses, resumes, shows parked messages and replays them", async () => {
  const { receiver, sinks, as, db } = await start();
  expect(await sinks("list")).toMatchObject({
    code: 0,
    out: expect.stringMatching(
      /late: running, orders to webhook\n {2}node: rack-1\n {2}delivered 0, waiting 0/,
    ),
  });
  expect(await as("cyd")("pause", "late")).toMatchObject({ code: 1 });
  expect(await sinks("pause", "late")).toMatchObject({ code: 0, out: "the sink late is paused" });
  expect((await sinks("list")).out).toContain("late: paused");
  expect(await sinks("resume", "late")).toMatchObject({ code: 0, out: "the sink late is resumed" });
  receiver.respond = () => 422;
  await expect
    .poll(async () => {
      await db.collection("orders").insertOne({ status: "late", total: 12 });
      return (await sinks("list")).out;
    }, PATIENCE)
    .toMatch(/parked [1-9]/);
  const parked = await sinks("parked", "late");
  expect(parked.out).toMatch(/^\S+: parked at \S+ after 1 attempts: the receiver answered 422/);
  const [id = ""] = parked.out.split(": ");
  expect((await sinks("parked", "late", "--json")).out).toContain('"total":12');
  expect((await as("cyd")("parked", "late", "--json")).out).not.toContain("total");
  receiver.respond = () => 200;
  expect(await sinks("replay", "late", "--id", id)).toMatchObject({
    code: 0,
    out: "1 parked message is sent again",
  });
  await expect.poll(() => receiver.ids, PATIENCE).toContain(id);
});

test("names what is wrong with a command line, and a sink that there is not", async () => {
  const { sinks } = await start();
  expect(await sinks("parked", "early")).toMatchObject({
    code: 1,
    err: expect.stringContaining("no sink early"),
  });
  expect(await sinks("replay", "late", "--id", "none")).toMatchObject({ code: 1 });
  for (const args of [[], ["stop"], ["pause"], ["list", "late"], ["pause", "late", "--id", "x"]])
    expect(await sinks(...args)).toMatchObject({ code: 2 });
});
