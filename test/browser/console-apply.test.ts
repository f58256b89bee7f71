/** Edits of the rules in the console take effect: apply, acknowledgements, revert, conflicts, and what an edit survives. */
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { isBrowserMissing, PATIENCE } from "../support/browser.ts";
import { configFile, runCommand } from "../support/command.ts";
import { accessibilityFaults, editor, tooNarrow, write } from "../support/console.ts";
import { pushRules } from "../support/rule-sets.ts";
import { draftIn, EVERYONE, editRules, openRulesOf, secretOf, startNodes } from "../support/rules-console.ts";

const OWN = `collections:
  items:
    rules:
      - name: own
        filter: { owner: "%%user.sub" }
`;
const dialog = (page: Page) => page.getByRole("dialog");
const effect = (page: Page) => page.getByRole("region", { name: "Effect of the draft" });

/** Applies the draft in the editor. */
async function apply(page: Page, reason: string): Promise<void> {
  await page.getByRole("button", { name: "Apply …" }).click();
  await dialog(page).getByLabel("Reason, for the history").fill(reason);
  await dialog(page).getByRole("button", { name: "Apply", exact: true }).click();
}

const acknowledged = (page: Page, nodes: number) =>
  dialog(page)
    .getByText(`Acknowledged by ${nodes} of ${nodes} node${nodes === 1 ? "" : "s"}.`)
    .waitFor();

test.skipIf(isBrowserMissing)(
  "an edit with a mistake, corrected, has the plan of tidewire plan, is applied, reaches three nodes and a client, and is reverted",
  async () => {
    const { adminUrl, db, connect, file } = await startNodes(3);
    await db.collection<{ _id: number }>("items").insertMany([
      { _id: 1, owner: "dan" },
      { _id: 2, owner: "eve" },
    ] as never);
    const client = await connect({ sub: "dan" });
    await client.ask({ type: "subscribe", id: "all", collection: "items" });
    await client.until((message) => message["last"] === true);
    const page = await openRulesOf(adminUrl, "ada");
    expect(await editRules(page)).toContain("everyone");
    expect(await page.getByRole("button", { name: "Apply …" }).isDisabled()).toBe(true);

    await write(page, OWN.replace("filter", "filtr"));
    await effect(page).getByText("1 mistake").waitFor();
    await page.locator(".cm-lintRange-error").waitFor();
    expect(await page.getByRole("button", { name: "Apply …" }).isDisabled()).toBe(true);
    await write(page, OWN);
    const row = effect(page).getByRole("row", { name: /^items/ });
    await row.waitFor();
    const edited = await configFile({
      ...file,
      rules: {},
      collections: { items: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] } },
    });
    const env = { TIDEWIRE_ADMIN_TOKEN: secretOf("ben") };
    const printed = await runCommand(["plan", "--config", edited, "--admin", adminUrl, "--json"], { env });
    const { live } = JSON.parse(printed.out) as {
      readonly live: { readonly collections: readonly { readonly effects: Record<string, number> }[] };
    };
    const heads = await effect(page).getByRole("columnheader").getByRole("button").allTextContents();
    const cells = await row.getByRole("cell").allTextContents();
    const shown = Object.fromEntries(cells.map((cell, at) => [heads[at] ?? "", Number(cell)]));
    expect(live.collections[0]?.effects).toMatchObject(shown);
    expect(shown["loses"]).toBe(1);

    await page.getByRole("button", { name: "Apply …" }).click();
    await dialog(page).getByText("no tests").waitFor();
    await dialog(page)
      .getByRole("row", { name: /^items/ })
      .waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await tooNarrow(page)).toEqual([]);
    await dialog(page).getByLabel("Reason, for the history").fill("owners only");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await acknowledged(page, 3);
    for (const node of ["rack-1", "rack-2", "rack-3"])
      await dialog(page).getByRole("listitem").filter({ hasText: node }).getByText("in force").waitFor();
    expect(await client.until(({ type }) => type === "removed")).toMatchObject({ cause: "grant" });
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await tooNarrow(page)).toEqual([]);
    await dialog(page).getByRole("button", { name: "Done" }).click();
    await page.getByText("as it was opened").waitFor();
    await page.getByText("set 2 in force").waitFor();

    await page.getByRole("link", { name: "History" }).click();
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await tooNarrow(page)).toEqual([]);
    await page.getByRole("button", { name: "Set 2" }).click();
    await dialog(page).getByText("owners only").waitFor();
    await dialog(page)
      .getByRole("region", { name: /^Lines that differ/ })
      .waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await tooNarrow(page)).toEqual([]);
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Set 1" }).click();
    await dialog(page).getByRole("button", { name: "Revert to set 1 …" }).click();
    await dialog(page)
      .getByRole("row", { name: /^items/ })
      .waitFor();
    await dialog(page).getByRole("button", { name: "Revert", exact: true }).click();
    await acknowledged(page, 3);
    expect(await client.until(({ type }) => type === "added")).toMatchObject({ cause: "grant" });
    await dialog(page).getByRole("button", { name: "Done" }).click();
    await page.getByRole("button", { name: "Set 3" }).waitFor();
  },
);

test.skipIf(isBrowserMissing)(
  "two admins edit at once: the second one sees the edit of the first one, and puts its own on top",
  async () => {
    const { adminUrl } = await startNodes(1);
    const [ada, ben] = [await openRulesOf(adminUrl, "ada"), await openRulesOf(adminUrl, "ben")];
    const text = await editRules(ada);
    await editRules(ben);
    await write(ada, `${text}  notes:\n    rules:\n      - name: all-notes\n`);
    await write(
      ben,
      text.replace("collections:\n", "collections:\n  drafts:\n    rules:\n      - name: all-drafts\n"),
    );
    // Both dialogs are open before either is applied.
    await ben.getByRole("button", { name: "Apply …" }).click();
    await dialog(ben).getByLabel("Reason, for the history").fill("drafts for everybody");
    await apply(ada, "notes for everybody");
    await acknowledged(ada, 1);
    await dialog(ben).getByRole("button", { name: "Apply", exact: true }).click();
    await dialog(ben).getByText("another edit came into force").waitFor();
    await dialog(ben).getByText("notes for everybody").waitFor();
    await dialog(ben).getByText("all-notes").waitFor();
    expect(await accessibilityFaults(ben)).toEqual([]);
    expect(await tooNarrow(ben)).toEqual([]);
    await dialog(ben).getByRole("button", { name: "Put my edit on top of set 2" }).click();
    await dialog(ben).getByLabel("Reason, for the history").waitFor();
    await dialog(ben).getByRole("button", { name: "Apply", exact: true }).click();
    await acknowledged(ben, 1);
    for (const name of ["all-notes", "all-drafts"]) expect(await draftIn(ben)).toContain(name);
    await dialog(ben).getByRole("button", { name: "Done" }).click();

    // An edit of the same lines cannot be put on top; the other one can be loaded.
    await dialog(ada).getByRole("button", { name: "Done" }).click();
    await write(ada, (await draftIn(ada)).replace("all-notes", "ada-notes"));
    await write(ben, (await draftIn(ben)).replace("all-notes", "ben-notes"));
    await apply(ben, "renamed");
    await acknowledged(ben, 1);
    await ada.getByRole("button", { name: "Show the other edit" }).click();
    await dialog(ada).getByText("Both edits change the same lines").waitFor();
    await dialog(ada).getByRole("button", { name: "Load set 4, and discard my edit" }).click();
    await expect.poll(() => draftIn(ada), PATIENCE).toContain("ben-notes");
  },
);

test.skipIf(isBrowserMissing)(
  "a draft, its tests and the reason survive a reload in the middle, and a failing test is not applied",
  async () => {
    const { adminUrl } = await startNodes(1);
    const page = await openRulesOf(adminUrl, "ada");
    await editRules(page);
    await write(page, OWN);
    const tests = page.getByLabel("Tests, in YAML");
    await tests.fill(
      "tests:\n  - name: dan sees eve's item\n    as: { sub: dan }\n    collection: items\n    documents:\n      - visible: { _id: 1, owner: eve }\n",
    );
    await page.getByRole("button", { name: "Apply …" }).click();
    await dialog(page).getByText("dan sees eve's item").waitFor();
    expect(await dialog(page).getByRole("button", { name: "Apply", exact: true }).count()).toBe(0);
    await page.keyboard.press("Escape");
    await tests.fill((await tests.inputValue()).replace("visible", "hidden"));
    await page.getByRole("button", { name: "Apply …" }).click();
    await dialog(page).getByLabel("Reason, for the history").fill("owners only");
    await page.reload();
    await page.getByRole("button", { name: "Apply …" }).click();
    await dialog(page).getByText("passed").waitFor();
    expect(await dialog(page).getByLabel("Reason, for the history").inputValue()).toBe("owners only");
    await dialog(page).getByRole("button", { name: "Apply", exact: true }).click();
    await acknowledged(page, 1);
  },
);

test.skipIf(isBrowserMissing)(
  "an admin without the role edit reads everything, and learns which role is needed",
  async () => {
    const { adminUrl, client, name } = await startNodes(1);
    await pushRules(client, name, { ...EVERYONE, notes: { rules: [{ name: "all" }] } });
    const page = await openRulesOf(adminUrl, "cyd");
    await editRules(page);
    await write(page, OWN);
    await effect(page)
      .getByText("To see the effect of a draft on users, a token needs the role edit")
      .waitFor();
    await page.getByText("To apply a draft, a token needs the role edit.").waitFor();
    expect(await page.getByRole("button", { name: "Apply …" }).count()).toBe(0);
    await page.getByRole("link", { name: "History" }).click();
    await page.getByRole("button", { name: "Set 1" }).click();
    await dialog(page).getByText("To revert to this set, a token needs the role edit.").waitFor();
  },
);

test.skipIf(isBrowserMissing)("shows the effect on recorded requests beside the plan", async () => {
  const { adminUrl, connect, client, name } = await startNodes(1, { record: "7d" });
  const user = await connect({ sub: "dan" });
  await user.ask({ type: "subscribe", id: "1", collection: "items", filter: { open: true } });
  user.socket.terminate();
  const requests = client.db(`${name}-state`).collection("requests");
  await expect.poll(() => requests.countDocuments(), PATIENCE).toBe(1);
  const page = await openRulesOf(adminUrl, "ada");
  await editRules(page);
  await write(page, "collections:\n  notes:\n    rules: [{ name: all }]\n");
  const recorded = effect(page).getByRole("region", { name: "Recorded requests" });
  await recorded.getByText("1 recorded request").waitFor();
  await recorded.getByText("would be refused").waitFor();
  await recorded.getByText("1 example").click();
  await recorded.getByText('"open":true').waitFor();
  expect(await accessibilityFaults(page)).toEqual([]);
  expect(await tooNarrow(page)).toEqual([]);
});

test.skipIf(isBrowserMissing)(
  "a node that is killed in the middle of an apply: the page says what it cannot know, and nothing is applied twice",
  async () => {
    const { nodes, client, name } = await startNodes(2);
    const [first, second] = nodes;
    if (first === undefined || second === undefined) throw new Error("two nodes were started");
    const page = await openRulesOf(first.adminUrl, "ada");
    await editRules(page);
    await write(page, OWN);
    // The edit takes effect, and the node ends before its answer reaches the page.
    await page.route("**/rules/apply", async (route) => {
      const isDryRun = (route.request().postDataJSON() as { readonly dryRun?: boolean }).dryRun === true;
      if (isDryRun) return route.continue();
      await route.fetch();
      await first.kill();
      return route.abort();
    });
    await apply(page, "owners only");
    await dialog(page).getByText("may have taken effect, or not").waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    await first.start();
    await page.unroute("**/rules/apply");
    // Sessions are in the memory of the node, so that a restart ends them.
    await page.getByText("Your session has ended").waitFor();
    await page.getByLabel("Admin token").fill(secretOf("ada"));
    await page.getByLabel("Admin token").press("Enter");
    await page.getByRole("button", { name: "Show the other edit" }).click();
    await acknowledged(page, 2);
    const sets = client.db(`${name}-state`).collection("ruleSets");
    const own = { author: "token:ada", parent: 1 };
    expect(await sets.find(own, { projection: { message: 1, parent: 1 } }).toArray()).toEqual([
      { _id: 2, message: "owners only", parent: 1 },
    ]);
    await dialog(page).getByRole("button", { name: "Done" }).click();

    // Another node that ends is shown as such, and the edit is in force all the same.
    await write(page, OWN.replace("own", "owner"));
    await page.getByRole("button", { name: "Apply …" }).click();
    await dialog(page).getByLabel("Reason, for the history").fill("renamed");
    await second.kill();
    await dialog(page).getByRole("button", { name: "Apply", exact: true }).click();
    await dialog(page).getByRole("listitem").filter({ hasText: "rack-2" }).getByText("gone").waitFor();
    await acknowledged(page, 1);
    await second.start();
    await acknowledged(page, 2);
    await expect.poll(() => editor(page).textContent(), PATIENCE).toContain("owner");
  },
);

test.skipIf(isBrowserMissing)(
  "an edit that is not confirmed in time says so, and is shown as soon as it is in force",
  async () => {
    const { adminUrl, client, name } = await startNodes(1);
    const page = await openRulesOf(adminUrl, "ada");
    await editRules(page);
    await write(page, OWN);
    // The node has saved the set, and no majority confirms the document that names it.
    await page.route("**/api/v1/rules/apply", async (route) => {
      if (route.request().postData()?.includes('"dryRun":true')) return route.continue();
      const json = { unconfirmed: { set: 2, text: "rule set 2 is not confirmed yet" } };
      return route.fulfill({ status: 504, json });
    });
    await apply(page, "owners only");
    await dialog(page).getByText("Rule set 2 is not confirmed yet.").waitFor();
    await dialog(page).getByText("Rule set 1 is in force now.").waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await tooNarrow(page)).toEqual([]);
    expect(await pushRules(client, name, { items: { rules: [{ name: "own" }] } })).toBe(2);
    await acknowledged(page, 1);
  },
);
