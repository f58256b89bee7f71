/** A request of a user, tried in the console: the rule that applies, its reason, and what the user would see. */
import { expect, test } from "vitest";
import { isBrowserMissing } from "../support/browser.ts";
import { accessibilityFaults, openConsole, showView, tooNarrow } from "../support/console.ts";

test.skipIf(isBrowserMissing)("says which rule applies to a user, why, and what it hides", async () => {
  const { page, db, pause } = await openConsole();
  await showView(page, "Try");
  const result = page.getByRole("region", { name: "Result" });
  await page.getByRole("button", { name: "Try", exact: true }).click();
  await page.getByText("This has to be the name of a collection").waitFor();
  await pause();
  const order = { _id: "tried-order", customer: "ben", status: "new", margin: 3 };
  await db.collection<typeof order>("orders").insertOne(order);
  await page.getByLabel("User").fill('{ "sub": "ben" }');
  await page.keyboard.press("Tab");
  await page.keyboard.type("orders");
  await page.getByLabel("One document (_id)").fill(order._id);
  await page.keyboard.press("Enter");
  await result.getByText("allowed", { exact: true }).first().waitFor();
  await result.getByText("is visible").waitFor();
  await result.getByText(/Hidden fields: .*margin/).waitFor();
  await result.getByText(/In the document, customer is "ben"/).waitFor();
  expect(await accessibilityFaults(page)).toEqual([]);
  expect(await tooNarrow(page)).toEqual([]);

  await page.getByLabel("User").fill("");
  await page.getByRole("button", { name: "Try", exact: true }).click();
  await result.getByText(/The request is unknown-collection/).waitFor();
  await showView(page, "Audit");
  await page.getByRole("table", { name: "Acts" }).getByText("try-as").first().waitFor();
});

test.skipIf(isBrowserMissing)(
  "tries as the user of a connection, to which Connections has a link",
  async () => {
    const { page } = await openConsole();
    await showView(page, "Connections");
    await page.getByRole("button", { name: "ada" }).click();
    await page.getByRole("link", { name: "Try as this client" }).click();
    await page.getByRole("heading", { level: 1, name: "Try" }).waitFor();
    expect(await page.getByLabel("A live connection").isChecked()).toBe(true);
    expect(await page.getByLabel("Collection").inputValue()).toBe("orders");
    await page.getByRole("button", { name: "Try", exact: true }).click();
    const result = page.getByRole("region", { name: "Result" });
    await result.getByText("The user of the connection: ada").waitFor();
    await result.getByText("allowed", { exact: true }).first().waitFor();
    await result.locator("pre").getByText('"sub": "ada"').waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await tooNarrow(page)).toEqual([]);

    await page.getByLabel("Connection", { exact: true }).fill("");
    await page.getByRole("button", { name: "Try", exact: true }).click();
    await page.getByText("This has to be the id of a connection").waitFor();
    await page.getByLabel("Claims or a token").check();
    await page.getByLabel("User").waitFor();
  },
);

test.skipIf(isBrowserMissing)("begins a draft with the rules in force", async () => {
  const { page } = await openConsole();
  await showView(page, "Rules");
  await page.getByRole("button", { name: "Edit the rules in force" }).click();
  const effect = page.getByRole("region", { name: "Effect of the draft" });
  await effect.getByRole("heading", { name: "The same rules as in force" }).waitFor();
  await page
    .getByText(/rule-set-\d+\.yaml/)
    .first()
    .waitFor();
  expect(await accessibilityFaults(page)).toEqual([]);
});

test.skipIf(isBrowserMissing)(
  "shows the rules in force beside the draft, marks the differences, and follows the documents",
  async () => {
    const { page, db, pause } = await openConsole();
    await pause();
    await showView(page, "Rules");
    await page.getByRole("button", { name: "Edit the rules in force" }).click();
    const editor = page.locator(".cm-content");
    await editor.waitFor();
    await page.evaluate(editDraft);
    await showView(page, "Try");
    await page.getByLabel("User").fill('{ "sub": "ben" }');
    await page.getByLabel("Collection").fill("orders");
    const order = { _id: "tried-order", customer: "ben", status: "new", margin: 3 };
    await page.getByLabel("One document (_id)").fill(order._id);
    await page.getByRole("button", { name: "Try", exact: true }).click();
    const inForce = page.getByRole("region", { name: "Rules in force" });
    const draft = page.getByRole("region", { name: "Draft", exact: true });
    await inForce.getByText("does not exist").waitFor();
    await draft.getByText("does not exist").waitFor();
    await db.collection<typeof order>("orders").insertOne(order);
    await inForce.getByText("is visible").waitFor();
    await inForce.getByText(/Hidden fields: .*margin/).waitFor();
    await draft.getByText("is visible").waitFor();
    expect(await draft.getByText(/Hidden fields/).count()).toBe(0);
    await draft.getByRole("heading", { name: /Visible fields.*differs/ }).waitFor();
    await page.getByText(/The draft shows .*with other fields/).waitFor();
    await page.locator(".document .new").first().waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await tooNarrow(page)).toEqual([]);

    await inForce.getByRole("button", { name: "Save as test" }).click();
    await inForce.getByRole("link", { name: "Rules" }).click();
    const tests = page.getByRole("region", { name: "Tests of the rules" });
    await tests.getByText("failed").first().waitFor();
    expect(await page.getByLabel("Tests, in YAML").inputValue()).toMatch(/ben sees "tried-order" of orders/);
    await showView(page, "Try");
    // The form and its result are there again.
    await draft.getByText("is visible").waitFor();
    await draft.getByRole("link", { name: "Trace this document" }).click();
    await page.getByRole("heading", { level: 1, name: "Trace" }).waitFor();
    expect(await page.getByLabel("Document (_id)").inputValue()).toBe('"tried-order"');
  },
);

/** Shows all fields of orders to everybody. It is changed where the page keeps it, because a test cannot type so much. */
const editDraft = `{
  const key = "tidewire-console.draft";
  const draft = JSON.parse(sessionStorage.getItem(key));
  const text = draft.text.replace("[ margin, courier ]", "[ courier ]").replace("[ ready, riding ]", "[ ready ]");
  sessionStorage.setItem(key, JSON.stringify({ ...draft, text }));
}`;

const HOSTILE = `<img src=x onerror="document.title='hit'"><script>document.title='hit'</script>`;

test.skipIf(isBrowserMissing)("shows HTML in every field of an answer as text", async () => {
  const { page } = await openConsole();
  const documents = { shown: [{ [HOSTILE]: HOSTILE }], hasMore: false };
  const document = {
    found: true,
    visible: true,
    because: HOSTILE,
    decided: { path: HOSTILE, value: HOSTILE },
    stored: { [HOSTILE]: HOSTILE },
    shown: { [HOSTILE]: HOSTILE },
    hiddenFields: [HOSTILE],
  };
  const outcome = {
    note: HOSTILE,
    given: null,
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
  const user = { sub: HOSTILE, claims: { [HOSTILE]: HOSTILE }, redacted: false };
  const answer = { ...outcome, user, draft: outcome };
  await page.route("**/api/v1/try", (route) => route.fulfill({ json: answer }));
  await showView(page, "Try");
  await page.getByLabel("Collection").fill(HOSTILE);
  await page.keyboard.press("Enter");
  const result = page.getByRole("region", { name: "Result" });
  await result.getByText("Effective filter").first().waitFor();
  expect((await result.textContent())?.split("<img src=x").length).toBeGreaterThan(30);
  expect(await page.evaluate<number>("document.querySelectorAll('img, main script').length")).toBe(0);
  expect(await page.title()).toBe("Try · Tidewire console");
});

/** Without dots, which MongoDB would not store in a name before version 5. */
const STORED = `<img src=x onerror="document['title']='hit'"><script>document['title']='hit'</script>`;

test.skipIf(isBrowserMissing)(
  "shows a stored document with HTML in every field as text, and saves it in a test",
  async () => {
    const { page, db, pause } = await openConsole();
    await pause();
    const document = { customer: STORED, status: STORED, margin: STORED, [STORED]: { [STORED]: [STORED] } };
    await db.collection<{ _id: string }>("orders").insertOne({ _id: STORED, ...document });
    await showView(page, "Try");
    await page.getByLabel("User").fill(JSON.stringify({ sub: STORED, roles: [STORED] }));
    await page.getByLabel("Collection").fill("orders");
    await page.getByLabel("One document (_id)").fill(STORED);
    await page.getByRole("button", { name: "Try", exact: true }).click();
    const result = page.getByRole("region", { name: "Result" });
    await result.getByText("is visible").waitFor();
    await result.locator("del").first().waitFor();
    await page.locator(".compared").getByText("<img src=x").first().waitFor();
    await result.getByRole("button", { name: "Save as test" }).click();
    await result.getByText("Saved in the tests of").waitFor();
    expect((await result.textContent())?.split("<img src=x").length).toBeGreaterThan(8);
    const elements = () => page.evaluate<number>("document.querySelectorAll('img, main script').length");
    expect(await elements()).toBe(0);
    expect(await page.title()).toBe("Try · Tidewire console");
    expect(await accessibilityFaults(page)).toEqual([]);
    await result.getByRole("link", { name: "Rules" }).click();
    await page.getByRole("region", { name: "Tests of the rules" }).getByText("passed").waitFor();
    expect([await elements(), await page.title()]).toEqual([0, "Rules · Tidewire console"]);
  },
);
