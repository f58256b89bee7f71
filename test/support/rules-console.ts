/** The console of nodes whose rules are in the database, in a real browser. */

import type { BrowserContextOptions, Page } from "playwright-core";
import { expect, onTestFinished } from "vitest";
import { digestOf } from "../../src/admin/access/digest.ts";
import type { AdminRole } from "../../src/gateway/admin-options.ts";
import { openPage, PATIENCE } from "./browser.ts";
import { editor, showView } from "./console.ts";
import { testDatabase } from "./mongod.ts";
import { pushRules } from "./rule-sets.ts";
import { signToken, testConfig } from "./service.ts";
import { type SpawnedService, spawnService } from "./spawn-service.ts";
import { WsClient } from "./ws-client.ts";

export const secretOf = (name: string) => `the-secret-of-${name}-for-the-console-of-a-test`;
const tokenOf = (name: string, roles: readonly AdminRole[]) => ({
  name,
  sha256: digestOf(secretOf(name)).toString("hex"),
  roles,
});
const TOKENS = [
  tokenOf("ada", ["view", "edit", "act"]),
  tokenOf("ben", ["view", "edit"]),
  tokenOf("cyd", ["view"]),
];

export const EVERYONE = { items: { rules: [{ name: "everyone" }] } };

/** Several nodes on one database, each a process of its own: the console that they serve is built. */
export async function startNodes(count: number, rules: object = {}) {
  const { client, db, name, uri } = await testDatabase();
  onTestFinished(async () => void (await client.db(`${name}-state`).dropDatabase()));
  await pushRules(client, name, EVERYONE);
  const options = { collections: {}, rules: { from: "database", ...rules } };
  const nodes: SpawnedService[] = [];
  for (let number = 1; number <= count; number++) {
    const server = { node: `rack-${number}`, admin: { port: 0, tokens: TOKENS } };
    const { mongodb, ...file } = testConfig(uri, name, { ...options, server });
    // The log says where it listens.
    const config = { ...file, mongodb: mongodb as Record<string, unknown>, log: { level: "info" } };
    const node = await spawnService({ config });
    const isReady = async () => (await fetch(`${node.adminUrl}/readyz`)).ok;
    await expect.poll(isReady, PATIENCE).toBe(true);
    nodes.push(node);
  }
  const [first] = nodes;
  if (first === undefined) throw new Error("a node was started");
  const connect = async (claims: Record<string, unknown>) => {
    const url = `${first.url.replace("http", "ws")}/v1/ws`;
    const connected = await WsClient.connect(url, { token: await signToken(claims) });
    onTestFinished(() => connected.socket.terminate());
    return connected;
  };
  const file = testConfig(uri, name, { collections: {} });
  return { nodes, client, db, name, file, connect, adminUrl: first.adminUrl };
}

/** Logs an admin in, and shows the rules. Nothing that the policy of the page forbids may happen. */
export async function openRulesOf(
  adminUrl: string,
  admin: string,
  options: BrowserContextOptions = {},
): Promise<Page> {
  const page = await openPage({ viewport: { width: 1440, height: 900 }, ...options });
  await page.goto(`${adminUrl}/#login=${secretOf(admin)}`);
  await showView(page, "Rules");
  return page;
}

/** Opens the set in force in the editor. @returns Its text. */
export async function editRules(page: Page): Promise<string> {
  await page.getByRole("button", { name: "Edit the rules in force" }).click();
  await editor(page).waitFor();
  return draftIn(page);
}

/** The text of the draft, as the page keeps it over a reload. */
export const draftIn = (page: Page): Promise<string> =>
  page.evaluate<string>('JSON.parse(sessionStorage.getItem("tidewire-console.draft")).text');
