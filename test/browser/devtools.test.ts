/** The element for developers, in a real browser against a real service. */
import { expect, test } from "vitest";
import { isBrowserMissing, openPage, PATIENCE } from "../support/browser.ts";
import { servePage } from "../support/page-server.ts";
import { startTestService } from "../support/service.ts";

const script = (url: string) => `
import { createClient } from "./src/client/client.ts";
import { createDevtools } from "./src/devtools/devtools.ts";
const devtools = createDevtools();
window.client = createClient({ url: ${JSON.stringify(url)}, token: async () => (await fetch("/token")).text(), devtools, logger: false });
document.body.append(document.createElement("tidewire-devtools"));
client.collection("todos").find({ done: false }).subscribe({});
client.collection("secrets").find().subscribe({ error() {} });
`;

test.skipIf(isBrowserMissing)(
  "shows queries, changes, fences and the reason of a stop, as text, also under a strict content policy",
  async () => {
    const { service, db, now } = await startTestService({
      collections: { todos: { rules: [{ name: "all" }] } },
      server: { origins: ["*"] },
    });
    const url = `http://127.0.0.1:${service.address.port}`;
    const policy = `default-src 'self'; connect-src 'self' ${url} ${url.replace("http", "ws")}; img-src data:`;
    const address = await servePage({
      script: script(url),
      html: `<meta http-equiv="Content-Security-Policy" content="${policy}"><div id="root"></div>`,
    });
    const page = await openPage();
    const warnings: string[] = [];
    page.on("console", (message) => warnings.push(message.text()));
    await page.goto(address);
    const summary = page.locator("tidewire-devtools summary");
    await expect.poll(() => summary.textContent(), PATIENCE).toMatch(/connected by ws; 1 of \d queries live/);
    await summary.click();
    const table = page.locator("tidewire-devtools table").first();
    await expect.poll(() => table.textContent(), PATIENCE).toContain("todos");
    await db
      .collection("todos")
      .insertOne({ _id: 1 as never, done: false, text: "<img src=x onerror=alert(1)>" });
    const { t, i } = await now();
    await page.evaluate(`client.fence({ t: ${t}, i: ${i} })`);
    const all = () => page.locator("tidewire-devtools details").textContent();
    await expect.poll(all, PATIENCE).toMatch(/added.*insert.*<img src=x onerror/);
    await expect.poll(all, PATIENCE).toMatch(new RegExp(`${t}\\.${i}.*passed`));
    expect(await page.locator("tidewire-devtools img").count()).toBe(0);
    expect(
      await page.evaluate('getComputedStyle(document.querySelector("tidewire-devtools")).position'),
    ).toBe("fixed");
    expect(warnings.filter((text) => /Content.Security/i.test(text))).toEqual([]);
  },
);

test.skipIf(isBrowserMissing)("a refused query shows why", async () => {
  const { service } = await startTestService({
    collections: {
      todos: { rules: [{ name: "all" }] },
      secrets: { rules: [{ name: "staff", when: { "%%user.staff": true } }] },
    },
    server: { origins: ["*"] },
  });
  const page = await openPage();
  await page.goto(await servePage({ script: script(`http://127.0.0.1:${service.address.port}`) }));
  await page
    .evaluate('client.collection("todos").find({ $nope: 1 }).subscribe({ error() {} })')
    .catch(() => {});
  await page.locator("tidewire-devtools summary").click();
  // A stopped query is shown as long as it is followed.
  await expect
    .poll(() => page.locator("tidewire-devtools details").textContent(), PATIENCE)
    .toMatch(/secrets.*stopped.*forbidden/);
});
