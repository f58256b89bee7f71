/** The view of sinks in the console, for a sink whose target refuses a message. */
import { expect, onTestFinished, test } from "vitest";
import { digestOf } from "../../src/admin/access/digest.ts";
import { isBrowserMissing, openPage, PATIENCE } from "../support/browser.ts";
import { accessibilityFaults, showView, tooNarrow } from "../support/console.ts";
import { testDatabase } from "../support/mongod.ts";
import { testConfig } from "../support/service.ts";
import { spawnService } from "../support/spawn-service.ts";
import { WebhookReceiver } from "../support/webhook-receiver.ts";

test.skipIf(isBrowserMissing)("shows sinks and their parked messages, and acts on them", async () => {
  const receiver = await WebhookReceiver.start();
  receiver.respond = () => 422;
  const secret = "the-secret-of-an-admin-of-sinks-in-a-browser";
  const { db, name, uri, client } = await testDatabase();
  onTestFinished(async () => void (await client.db(`${name}-state`).dropDatabase()));
  const { mongodb, ...file } = testConfig(uri, name, {
    collections: { orders: { rules: [] } },
    server: {
      admin: { tokens: [{ name: "ada", sha256: digestOf(secret).toString("hex"), roles: ["view", "act"] }] },
    },
    sinks: {
      "late-orders": {
        collection: "orders",
        filter: { status: "late" },
        to: receiver.to,
        retry: { attempts: 1 },
      },
    },
  });
  const service = await spawnService({
    config: { ...file, mongodb: mongodb as Record<string, unknown>, log: { level: "info" } },
  });
  const page = await openPage({ viewport: { width: 1440, height: 900 } });
  await page.goto(service.adminUrl);
  await page.getByLabel("Admin token").fill(secret);
  await page.getByLabel("Admin token").press("Enter");
  await showView(page, "Sinks");
  const rows = page.getByRole("table", { name: "Sinks" }).getByRole("row");
  await rows.nth(1).getByText("running", { exact: true }).waitFor();
  expect(await accessibilityFaults(page)).toEqual([]);
  expect(await tooNarrow(page)).toEqual([]);

  await page.getByRole("button", { name: "late-orders" }).click();
  const opened = page.getByRole("dialog", { name: "Sink" });
  await opened.getByText("Nothing is parked").waitFor();
  const isParked = async () => {
    await db.collection("orders").insertOne({ status: "late" });
    return (await opened.getByText(/the receiver answered 422/).count()) > 0;
  };
  await expect.poll(isParked, PATIENCE).toBe(true);
  expect(await accessibilityFaults(page)).toEqual([]);
  expect(await tooNarrow(page)).toEqual([]);
  await opened.getByRole("button", { name: "Pause" }).click();
  await opened.getByRole("button", { name: "Yes, pause" }).click();
  await opened.getByText("paused", { exact: true }).waitFor();
  await opened.getByRole("button", { name: "Resume" }).click();
  await opened.getByRole("button", { name: "Yes, resume" }).click();
  await opened.getByText("running", { exact: true }).waitFor();
  receiver.respond = () => 200;
  await opened.getByRole("button", { name: "Replay" }).click();
  await opened.getByRole("button", { name: "Yes, replay" }).click();
  await opened.getByText("Nothing is parked").waitFor();
  await receiver.holds(1);
});
