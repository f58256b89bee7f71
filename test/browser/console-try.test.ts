/** A request of a user, tried in the console: the rule that applies, its reason, and what the user would see. */
import { expect, test } from "vitest";
import { isBrowserMissing } from "../support/browser.ts";
import { accessibilityFaults, openConsole, showView, tooNarrow } from "../support/console.ts";

test.skipIf(isBrowserMissing)("says which rule applies to a user, why, and what it hides", async () => {
  const { page, db } = await openConsole();
  await showView(page, "Try");
  const result = page.getByRole("region", { name: "Result" });
  await page.getByRole("button", { name: "Try", exact: true }).click();
  await page.getByText("This has to be the name of a collection").waitFor();
  const [order] = await db
    .collection<{ _id: string | number }>("orders")
    .find({ customer: "ben" })
    .limit(1)
    .toArray();
  await page.getByLabel("User").fill('{ "sub": "ben" }');
  await page.keyboard.press("Tab");
  await page.keyboard.type("orders");
  await page.getByLabel("One document (_id)").fill(JSON.stringify(order?._id));
  await page.keyboard.press("Enter");
  await result.getByText("allowed", { exact: true }).first().waitFor();
  await result.getByText("is visible").waitFor();
  await result.getByText(/Hidden fields: .*margin/).waitFor();
  expect(await accessibilityFaults(page)).toEqual([]);
  expect(await tooNarrow(page)).toEqual([]);

  await page.getByLabel("User").fill("");
  await page.getByRole("button", { name: "Try", exact: true }).click();
  await result.getByText("The request is refused with").waitFor();
  await showView(page, "Audit");
  await page.getByRole("table", { name: "Acts" }).getByText("try-as").first().waitFor();
});

test.skipIf(isBrowserMissing)("begins a draft with the rules in force", async () => {
  const { page } = await openConsole();
  await showView(page, "Rules");
  await page.getByRole("button", { name: "Edit the rules in force" }).click();
  const effect = page.getByRole("region", { name: "Effect of the draft" });
  await effect.getByRole("heading", { name: "The same rules as in force" }).waitFor();
  await page.getByText("rules-of-generation-1.yaml").waitFor();
  expect(await accessibilityFaults(page)).toEqual([]);
});

const HOSTILE = `<img src=x onerror="document.title='hit'"><script>document.title='hit'</script>`;

test.skipIf(isBrowserMissing)("shows HTML in every field of an answer as text", async () => {
  const { page } = await openConsole();
  const documents = { shown: [{ [HOSTILE]: HOSTILE }], hasMore: false };
  const document = {
    found: true,
    visible: true,
    because: HOSTILE,
    stored: { [HOSTILE]: HOSTILE },
    shown: { [HOSTILE]: HOSTILE },
    hiddenFields: [HOSTILE],
  };
  const answer = {
    outcome: HOSTILE,
    reason: HOSTILE,
    rules: [{ name: HOSTILE, applies: true, because: HOSTILE }],
    query: {
      rule: HOSTILE,
      namespace: HOSTILE,
      filter: HOSTILE,
      fields: HOSTILE,
      aggregate: null,
      snapshotAllowed: true,
    },
    documents,
    document,
  };
  await page.route("**/api/v1/try", (route) => route.fulfill({ json: answer }));
  await showView(page, "Try");
  await page.getByLabel("Collection").fill(HOSTILE);
  await page.keyboard.press("Enter");
  const result = page.getByRole("region", { name: "Result" });
  await result.getByText("Effective filter").waitFor();
  expect((await result.textContent())?.split("<img src=x").length).toBeGreaterThan(12);
  expect(await page.evaluate<number>("document.querySelectorAll('img, main script').length")).toBe(0);
  expect(await page.title()).toBe("Try · Tidewire console");
});
