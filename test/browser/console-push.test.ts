/** The push registrations in the console. */
import { expect, test } from "vitest";
import { digestOf } from "../../src/admin/access/digest.ts";
import { isBrowserMissing, openPage, PATIENCE } from "../support/browser.ts";
import { accessibilityFaults, showView, tooNarrow } from "../support/console.ts";
import { PushClient } from "../support/push-client.ts";
import { PushEndpoint } from "../support/push-endpoint.ts";
import { ORDERS, pushSection } from "../support/push-world.ts";
import { spawnTestService } from "../support/spawn-test-service.ts";

const SECRET = "a secret for the console of push registrations";
const ADMIN = { name: "ada", sha256: digestOf(SECRET).toString("hex"), roles: ["view", "act"] };

test.skipIf(isBrowserMissing)(
  "lists the push registrations of a user, and removes one with an entry in the audit",
  async () => {
    const endpoint = await PushEndpoint.start();
    const server = { port: 0, admin: { port: 0, tokens: [ADMIN] } };
    const service = await spawnTestService({ collections: ORDERS, push: pushSection(), server });
    const as = (sub: string) => new PushClient(() => service.url, { sub });
    for (const user of ["ada", "bob"])
      await as(user).registered(endpoint.subscription(), { on: ["added", "removed"] });
    const page = await openPage();
    await page.goto(service.adminUrl);
    await page.getByLabel("Admin token").fill(SECRET);
    await page.getByLabel("Admin token").press("Enter");
    await showView(page, "Push");
    const rows = page.getByRole("table", { name: "Push registrations" }).getByRole("row");
    await expect.poll(() => rows.count(), PATIENCE).toBe(3);
    await rows.getByText("active", { exact: true }).first().waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await tooNarrow(page)).toEqual([]);

    await page.keyboard.press("/");
    await page.keyboard.type("ada");
    await page.keyboard.press("Enter");
    await expect.poll(() => rows.count(), PATIENCE).toBe(2);
    await page.getByRole("button", { name: "ada" }).click();
    const dialog = page.getByRole("dialog", { name: "Push registration" });
    expect(await accessibilityFaults(page)).toEqual([]);
    await dialog.getByRole("button", { name: "Remove" }).click();
    await dialog.getByRole("button", { name: "Yes, remove" }).click();
    await dialog.getByText("lasts over a restart", { exact: true }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByText("No registration matches").waitFor();
    expect([await as("ada").list(), (await as("bob").list()).length]).toEqual([[], 1]);
    await showView(page, "Audit");
    await page.getByRole("cell", { name: "remove-push" }).waitFor();
  },
);
