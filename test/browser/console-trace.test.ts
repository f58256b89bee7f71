/** A trace in the console while the demo writes: of a user, of a live query, and of a document with hostile contents. */
import { expect, test } from "vitest";
import { isBrowserMissing, PATIENCE } from "../support/browser.ts";
import { accessibilityFaults, openConsole, showView, tooNarrow } from "../support/console.ts";

test.skipIf(isBrowserMissing)(
  "follows a user from the list of connections: events, decisions, lags; and stops",
  async () => {
    const { page } = await openConsole();
    await showView(page, "Trace");
    await page.getByRole("heading", { name: "Nothing is traced yet" }).waitFor();
    await page.getByRole("button", { name: "Start the trace" }).click();
    await page.getByText("This has to be the sub of a user").waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await tooNarrow(page)).toEqual([]);

    await showView(page, "Connections");
    await page.getByRole("button", { name: "ada" }).click();
    await page.getByRole("dialog").getByRole("link", { name: "Trace this user" }).click();
    await page.getByRole("heading", { level: 1, name: "Trace" }).waitFor();
    expect(await page.getByLabel("User (sub)").inputValue()).toBe("ada");
    await page.getByRole("button", { name: "Start the trace" }).click();
    const table = page.getByRole("table", { name: "Entries" });
    await table.getByText("rights", { exact: true }).first().waitFor();
    await table
      .getByText(/^(?:added|changed|removed)/)
      .first()
      .waitFor();
    await table.getByText(/^to 1/).first().waitFor();
    // The rows must not move while they are opened.
    await page.getByRole("button", { name: "Hold the list" }).click();
    await page.getByRole("button", { name: /^Go on \(\d+ new\)/ }).waitFor();
    await page.getByLabel("Only events with an effect").check();
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await tooNarrow(page)).toEqual([]);

    const change = table.getByRole("row").filter({ hasText: /to 1/ }).first();
    await change.getByRole("button").click();
    const opened = page.getByRole("dialog", { name: "Change event" });
    await opened.getByText("Sent", { exact: true }).first().waitFor();
    await opened
      .getByText(/^after [\d.]+ m?s$/)
      .first()
      .waitFor();
    await opened.getByText("to ada, subscription").first().waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    await opened.getByRole("button", { name: "Earlier" }).click();
    await page.keyboard.press("Escape");

    await page.reload();
    await page.getByText("Following the user ada").waitFor();
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByText("an admin has stopped it").waitFor();
    await showView(page, "Audit");
    await page.getByRole("table", { name: "Acts" }).getByRole("cell", { name: "trace" }).first().waitFor();
  },
);

test.skipIf(isBrowserMissing)("has a link from a live query, and shows a decision about rights", async () => {
  const { page } = await openConsole();
  await showView(page, "Live queries");
  await page
    .getByRole("button", { name: /orders$/ })
    .first()
    .click();
  await page.getByRole("dialog").getByRole("link", { name: "Trace this live query" }).click();
  await page.getByRole("button", { name: "Start the trace" }).click();
  const table = page.getByRole("table", { name: "Entries" });
  const rights = table.getByRole("row").filter({ hasText: "rights" }).last();
  await rights.waitFor();
  await page.getByRole("button", { name: "Hold the list" }).click();
  await rights.getByRole("button").click();
  const opened = page.getByRole("dialog", { name: "Decision about rights" });
  await opened.getByText("Rules, in their order").waitFor();
  await opened.getByText("applies", { exact: true }).waitFor();
});

const HOSTILE = `<img src=x onerror="document['title']='hit'"><script>document['title']='hit'</script>`;

test.skipIf(isBrowserMissing)(
  "shows a stored document with HTML in every field as text, and no value without the role",
  async () => {
    const { page, db } = await openConsole();
    await showView(page, "Trace");
    await page.getByLabel("A document").check();
    await page.getByLabel("Collection").fill("orders");
    await page.getByLabel("Document (_id)").fill(HOSTILE);
    await page.getByRole("button", { name: "Start the trace" }).click();
    await page.getByText("Waiting for the first event").waitFor();
    const document = { customer: HOSTILE, region: HOSTILE, status: HOSTILE, [HOSTILE]: HOSTILE };
    await db.collection<{ _id: string }>("orders").insertOne({ _id: HOSTILE, ...document });
    const table = page.getByRole("table", { name: "Entries" });
    await table.getByText("insert").waitFor();
    await table.getByText("<img src=x").first().waitFor();
    await table.getByRole("row").last().getByRole("button").click();
    const opened = page.getByRole("dialog", { name: "Change event" });
    await opened.getByText("no document", { exact: true }).waitFor();
    expect((await opened.textContent())?.split("<img src=x").length).toBeGreaterThan(5);
    expect(await page.evaluate<number>("document.querySelectorAll('img, main script').length")).toBe(0);
    expect(await page.title()).toBe("Trace · Tidewire console");

    await page.route("**/api/v1/traces/*", async (route) => {
      const answer = await (await route.fetch()).json();
      const entries = answer.entries.map((entry: object) => ({
        ...entry,
        documentId: null,
        before: null,
        after: null,
      }));
      await route.fulfill({ json: { ...answer, redacted: true, entries } });
    });
    await page.reload();
    await page.getByText("values redacted").waitFor();
    await table.getByText("redacted", { exact: true }).first().waitFor();
    await table.getByRole("row").last().getByRole("button").click();
    await opened.getByText("it needs the role documents").waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    await page.keyboard.press("Escape");
    await expect.poll(() => opened.count(), PATIENCE).toBe(0);
    // The page asks again and again, and may do so while it closes.
    await page.unrouteAll({ behavior: "ignoreErrors" });
  },
);
