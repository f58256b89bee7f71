/** The rules in the console: mistakes while they are made, the effect of a draft, and what a draft survives. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { isBrowserMissing, PATIENCE } from "../support/browser.ts";
import { ROOT } from "../support/build.ts";
import { accessibilityFaults, editor, openConsole, showView, tooNarrow, write } from "../support/console.ts";

const effect = (page: Page) => page.getByRole("region", { name: "Effect of the draft" });

/** Opens the configuration of the demo in the editor. */
async function openRules() {
  const opened = await openConsole();
  const original = await readFile(join(ROOT, "config/demo.yaml"), "utf8");
  // A plan fills in no variables.
  const text = original.replaceAll(/\$\{TIDEWIRE_DEMO_DATABASE[^}]*\}/g, opened.db.databaseName);
  const file = join(opened.directory, "tidewire.yaml");
  await writeFile(file, text);
  await showView(opened.page, "Rules");
  await opened.page.getByLabel("Configuration file").setInputFiles(file);
  await effect(opened.page).getByText("The same rules as in force").first().waitFor();
  return { ...opened, text };
}

test.skipIf(isBrowserMissing)("shows the effect of a draft on each rule and its subscriptions", async () => {
  const { page, text } = await openRules();
  await write(page, text.replace("exclude: [ margin, courier ]", "exclude: [ courier ]"));
  await effect(page).getByText("more fields").waitFor();
  await effect(page).getByText("all but courier").waitFor();
  const row = effect(page).getByRole("row", { name: /^customer/ });
  expect(await row.getByRole("cell").allTextContents()).toContain("1");
  const examples = effect(page).locator("details", { hasText: "Examples of affected users" });
  // Not open by itself: a draft may affect many users.
  expect(await examples.getByText("ben", { exact: true }).isVisible()).toBe(false);
  await examples.locator("summary").click();
  await examples.getByText("ben", { exact: true }).waitFor();
  const gains = effect(page).getByRole("button", { name: "gains" });
  await gains.focus();
  await page.getByRole("tooltip", { name: /more documents or fields/ }).waitFor();
  expect(await accessibilityFaults(page)).toEqual([]);
  expect(await tooNarrow(page)).toEqual([]);
  const saved = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save as patch" }).click();
  const patch = await readFile(await (await saved).path(), "utf8");
  expect(patch).toContain("-        fields: { exclude: [ margin, courier ] }");
  expect(patch).toContain("+        fields: { exclude: [ courier ] }");
});

test.skipIf(isBrowserMissing)(
  "shows a mistake in its line while it is made, before the node answers",
  async () => {
    const { page, text } = await openRules();
    // The node does not answer at all: the page finds these mistakes itself.
    await page.route("**/api/v1/plan", () => {});
    await write(page, text.replace("filter: { customer", "filtr: { customer"));
    await effect(page).getByText("1 mistake").waitFor();
    await page.locator(".cm-lintRange-error").waitFor();
    await effect(page)
      .getByRole("button", { name: /there is no option filtr here/ })
      .click();
    await page.locator(".cm-activeLine", { hasText: "filtr" }).waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    await page.unroute("**/api/v1/plan");
    // The page cannot know the operators of filters; the node does.
    await write(page, text.replace("$in: [ admin ]", "$inn: [ admin ]"));
    await effect(page)
      .getByText(/the operator "\$inn" is not supported/)
      .waitFor();
  },
);

const TESTS = `tests:
  - name: ben sees no margin
    as: { sub: ben }
    collection: orders
    rule: customer
    documents:
      - visible: { _id: 1, customer: ben, margin: 2 }
        shown: { _id: 1, customer: ben }
`;

test.skipIf(isBrowserMissing)("runs the tests of a draft while it is being edited", async () => {
  const { page, text } = await openRules();
  const tests = page.getByRole("region", { name: "Tests of the rules" });
  await tests.getByLabel("Tests, in YAML").fill(TESTS);
  await tests.getByText("passed", { exact: true }).waitFor();
  await tests.getByText(/that no test reaches/).click();
  await tests.getByText("orders, admin").waitFor();
  await write(page, text.replace("exclude: [ margin, courier ]", "exclude: [ courier ]"));
  await tests.getByText("failed", { exact: true }).waitFor();
  await tests.locator("strong", { hasText: "ben sees no margin" }).waitFor();
  await page.reload();
  await tests.getByText("failed", { exact: true }).waitFor();
  expect(await accessibilityFaults(page)).toEqual([]);
  expect(await tooNarrow(page)).toEqual([]);
  await tests.getByLabel("Tests, in YAML").fill("tests: 3");
  await tests.getByText("not run").waitFor();
});

test.skipIf(isBrowserMissing)("completes options from the schema of the configuration", async () => {
  const { page } = await openRules();
  await write(page, " ");
  await editor(page).pressSequentially("coll");
  const option = page.getByRole("option", { name: /collections/ });
  // Not by the keyboard: the editor ignores keys right after the list has opened, so that nobody accepts by mistake.
  await option.click();
  await expect.poll(() => editor(page).textContent(), PATIENCE).toContain("collections:");
});

/** The editor ignores Enter for 75 ms after a list has opened, by the clock of the page. */
const acceptFirst = async (page: Page, name: RegExp) => {
  await page.getByRole("option", { name, selected: true }).waitFor();
  await page.evaluate(`new Promise((resolve) => {
    const openedMs = performance.now();
    const step = () => (performance.now() - openedMs > 100 ? resolve() : requestAnimationFrame(step));
    step();
  })`);
  await page.keyboard.press("Enter");
};

test.skipIf(isBrowserMissing)(
  "completes names of collections, fields and claims, from the node",
  async () => {
    const { page } = await openRules();
    await write(page, "collections:\n  ");
    await editor(page).pressSequentially("ord");
    await acceptFirst(page, /^orders/);
    await expect.poll(() => editor(page).textContent(), PATIENCE).toBe("collections:  orders: ");
    await write(page, "collections:\n  orders:\n    rules:\n      - name: a\n        filter: ");
    await editor(page).pressSequentially("{ cust");
    await acceptFirst(page, /^customer/);
    await editor(page).pressSequentially('"%%us');
    await acceptFirst(page, /^%%user\./);
    await expect.poll(() => editor(page).textContent(), PATIENCE).toMatch(/\{ customer: "%%user\.\w+"\}/);

    // Options are completed although the node does not answer with names.
    await page.route("**/api/v1/rules/names*", (route) => route.abort());
    await page.reload();
    await write(page, "collections:\n  orders:\n    rules:\n      - name: a\n        ");
    await editor(page).pressSequentially("filt");
    await acceptFirst(page, /^filter/);
    await editor(page).pressSequentially("{ cust");
    await expect.poll(() => editor(page).textContent(), PATIENCE).toContain("filter: { cust}");
  },
);

test.skipIf(isBrowserMissing)(
  "keeps a draft over a reload, a killed node, and the end of the session",
  async () => {
    const { page, text, kill, token } = await openRules();
    await write(page, text.replace("exclude: [ margin, courier ]", "exclude: [ courier ]"));
    await effect(page).getByText("more fields").waitFor();
    await page.reload();
    await effect(page).getByText("more fields").waitFor();

    await kill();
    await write(page, text.replace("exclude: [ margin, courier ]", "exclude: [ margin ]"));
    // Sessions are in the memory of the node, so that a restart ends them.
    await page.getByText("Your session has ended").waitFor();
    await page.getByLabel("Admin token").fill(token);
    await page.getByLabel("Admin token").press("Enter");
    await effect(page).getByText("all but margin").waitFor();
  },
);

const HOSTILE = `<img src=x onerror="document.title='hit'"><script>document.title='hit'</script>`;

test.skipIf(isBrowserMissing)("shows HTML in names, rules and mistakes as the text that it is", async () => {
  const { page, text, directory } = await openRules();
  const name = `${HOSTILE.replaceAll("/", "")}.yaml`;
  await writeFile(join(directory, name), text);
  await page.getByRole("button", { name: "Close" }).click();
  await page.getByLabel("Configuration file").setInputFiles(join(directory, name));
  await page.getByText(name).waitFor();
  const quoted = JSON.stringify(HOSTILE);
  await write(
    page,
    text
      .replace("- name: customer", `- name: ${JSON.stringify(HOSTILE.slice(0, 60))}`)
      .replace("  orders:", `  ${quoted}:`),
  );
  await effect(page).locator("code", { hasText: HOSTILE }).first().waitFor();
  await write(page, text.replace("    rules:", `    ${quoted}: 3\n    rules:`));
  await effect(page)
    .getByRole("button", { name: /<img src=x/ })
    .waitFor();
  expect(await page.evaluate<number>("document.querySelectorAll('img, main script').length")).toBe(0);
  expect(await page.title()).toBe("Rules · Tidewire console");
});

test.skipIf(isBrowserMissing)(
  "says what to do about a file of rules or tests that cannot be read",
  async () => {
    const { page } = await openRules();
    page.on("dialog", (confirm) => void confirm.accept());
    const broken = {
      name: "broken.yaml",
      mimeType: "application/yaml",
      buffer: Buffer.from([0xff, 0xfe, 0x41]),
    };
    const choose = (label: string, file: typeof broken) => page.getByLabel(label).setInputFiles(file);
    await choose("File of tests", broken);
    await page.getByText("Broken.yaml is no text in UTF-8: save it as UTF-8").waitFor();
    await choose("File of tests", { ...broken, buffer: Buffer.from("tests: []") });
    await expect.poll(() => page.getByText("is no text in UTF-8").count(), PATIENCE).toBe(0);
    await page.getByRole("button", { name: "Close", exact: true }).click();
    await choose("Configuration file", broken);
    await page.getByText("Broken.yaml is no text in UTF-8: save it as UTF-8").waitFor();
  },
);
