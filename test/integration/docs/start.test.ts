/** The quick start as it stands on the page: its configuration, its token, and each of its clients. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Window } from "happy-dom";
import { pino } from "pino";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { compileScript, parse as parseSfc } from "vue/compiler-sfc";
import { type CloseEvent, WebSocket } from "ws";
import { parse as parseYaml } from "yaml";
import { startService } from "../../../src/server.ts";
import { ROOT } from "../../support/build.ts";
import { blockUnder, guideFolder, writeModule } from "../../support/guide.ts";
import { skipWithout } from "../../support/installed.ts";
import { testDatabase } from "../../support/mongod.ts";
import { Program } from "../../support/program.ts";
import { pythonEnv, pythonWith } from "../../support/python.ts";
import { Running } from "../../support/running.ts";
import { SECRET, testConfig, toConfig } from "../../support/service.ts";

const PAGE = "start.md";
const PATIENCE = { timeout: 60_000 };
const { fetch } = globalThis;

let folder: Awaited<ReturnType<typeof guideFolder>>;
beforeAll(async () => {
  folder = await guideFolder();
  vi.stubEnv("TIDEWIRE_JWT_SECRET", SECRET);
});
afterAll(() => folder.remove());

/** A module of the page, with the port of the service that runs. */
const moduleOf = async (name: string, code: string, port = 0) =>
  import(await writeModule(folder.folder, name, code.replaceAll("127.0.0.1:8480", `127.0.0.1:${port}`)));

/** The page's service, backend and token. */
async function start() {
  const { db, name, uri } = await testDatabase();
  const { collections } = parseYaml(blockUnder(PAGE, "1. The service", "yaml"));
  const service = await startService(
    toConfig(testConfig(uri, name, { collections })),
    pino({ level: "silent" }),
  );
  onTestFinished(async () => {
    await service.stop();
    await db.client.db(`${name}-state`).dropDatabase();
  });
  // Before, the service answers that it is not ready yet, and the programs say so.
  await expect.poll(() => service.readiness().ready, PATIENCE).toBe(true);
  const { addTodo } = await moduleOf("backend", blockUnder(PAGE, "4. Write", "ts"));
  const { tokenFor } = await moduleOf("token", blockUnder(PAGE, "2. A token", "ts"));
  await addTodo(db, "ben", "not for ada");
  await addTodo(db, "ada", "write");
  return { port: service.address.port, add: (text: string) => addTodo(db, "ada", text), tokenFor };
}

/** A page around the client: a document, the answer to GET /token, and the platform's WebSocket. */
async function openPage(html: string) {
  const world = await start();
  const window = new Window({ url: "http://localhost:5173" });
  window.document.body.innerHTML = html;
  const { document } = window;
  for (const name of [
    "HTMLElement",
    "SVGElement",
    "MathMLElement",
    "Element",
    "Node",
    "ShadowRoot",
  ] as const) {
    vi.stubGlobal(name, window[name as keyof typeof window]);
  }
  vi.stubGlobal("window", window);
  vi.stubGlobal("navigator", window.navigator);
  vi.stubGlobal("document", document);
  vi.stubGlobal("fetch", async (input: string, init?: RequestInit) =>
    input === "/token" ? new Response(await world.tokenFor("ada")) : fetch(input, init),
  );
  const sockets: WebSocket[] = [];
  vi.stubGlobal(
    "WebSocket",
    class extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        sockets.push(this);
      }
    },
  );
  onTestFinished(() => {
    // The page's client is not ours to close: the service makes it stop. The page stays open for what it still renders.
    for (const socket of sockets) socket.onclose?.({ code: 4403, reason: "" } as CloseEvent); // all that is read of one
    for (const socket of sockets) socket.terminate();
  });
  const items = () => Array.from(document.querySelectorAll("li"), ({ textContent }) => textContent);
  return { ...world, window, items };
}

test("the page without a build step shows the list, and what is added to it", async () => {
  const html = blockUnder(PAGE, "A page without a build step", "html");
  const [, list = "", script = ""] = /^([\s\S]*?)<script type="module">([\s\S]*)<\/script>/.exec(html) ?? [];
  const { port, items, add } = await openPage(list);
  await moduleOf("page", script.replace("./tidewire.js", "tidewire/client"), port);
  await expect.poll(items, PATIENCE).toEqual(["write"]);
  await add("read");
  await expect.poll(items, PATIENCE).toEqual(["read", "write"]);
});

test("the React component shows the list, and what is added to it", async () => {
  const { port, items, add } = await openPage('<div id="root"></div>');
  await moduleOf("react", blockUnder(PAGE, "React", "tsx"), port);
  await expect.poll(items, PATIENCE).toEqual(["write"]);
  await add("read");
  await expect.poll(items, PATIENCE).toEqual(["read", "write"]);
});

test("the Vue component shows the list, and what is added to it", async () => {
  const { port, items, add } = await openPage('<div id="app"></div>');
  const { descriptor } = parseSfc(blockUnder(PAGE, "Vue", "vue"));
  const { content } = compileScript(descriptor, { id: "todos", inlineTemplate: true });
  await writeModule(folder.folder, "App", content);
  const main = [
    'import { createApp } from "vue";',
    'import { createClient } from "tidewire/client";',
    'import { tidewire } from "tidewire/vue";',
    'import App from "./App.mjs";',
    'const token = async () => (await fetch("/token")).text();',
    'const client = createClient({ url: "http://127.0.0.1:8480", token });',
    'createApp(App).use(tidewire(client)).mount("#app");',
  ];
  expect(readFileSync(join(ROOT, "docs", PAGE), "utf8")).toContain(`\`${main.at(-1)?.replace(";", "")}\``);
  await moduleOf("main", main.join("\n"), port);
  await expect.poll(items, PATIENCE).toEqual(["write"]);
  await add("read");
  await expect.poll(items, PATIENCE).toEqual(["read", "write"]);
});

test("the Node program prints the list, and what is added to it", async () => {
  const { port, add, tokenFor } = await start();
  const code = blockUnder(PAGE, "Node", "js").replace("8480", String(port));
  const file = await writeModule(folder.folder, "node", code);
  const program = new Program(process.execPath, [file], { TIDEWIRE_TOKEN: await tokenFor("ada") });
  await expect
    .poll(() => [program.ofType("snapshot"), program.errors], PATIENCE)
    .toMatchObject([[{ docs: [{ text: "write" }] }], []]);
  await add("read");
  await expect.poll(() => program.ofType("added"), PATIENCE).toMatchObject([{ doc: { text: "read" } }]);
});

test("the Python program prints the list, and what is added to it", async ({ skip }) => {
  const found = await pythonWith("websockets>=15");
  if ("missing" in found) return skipWithout(skip, found.missing);
  const { port, add, tokenFor } = await start();
  const code = blockUnder(PAGE, "Python", "python").replace("8480", String(port));
  const env = { ...process.env, ...pythonEnv(), TIDEWIRE_TOKEN: await tokenFor("ada") };
  const program = new Running(found.python, ["-c", code], folder.folder, env);
  await program.line(/^\['write'\]$/);
  await add("read");
  await program.line(/^\['read', 'write'\]$/);
});
