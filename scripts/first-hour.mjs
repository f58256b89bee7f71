/**
 * The way of a newcomer, timed: `npm run first-hour`. In an empty home directory it clones this repository, runs the two
 * commands of the README until the demo's page shows live rows, and then follows `tidewire init` on a replica set of its own
 * until the generated page shows a live list. A real Chromium looks at both pages. Prints the seconds of each step, and
 * ends with 1 if a step fails, if all takes longer than five minutes, or if a command prints nothing for long.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { MongoClient } from "mongodb";
import { chromium } from "playwright-core";
import { Steps, seconds } from "./newcomer/steps.mjs";
import { Command } from "./newcomer/terminal.mjs";

const ROOT = new URL("..", import.meta.url).pathname;
const LIMIT_MS = 5 * 60_000;
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

const home = await mkdtemp(join(tmpdir(), "tidewire-newcomer-"));
const clone = join(home, "tidewire");
const shop = join(home, "shop");
const steps = new Steps();
const running = [];

/** Holds nothing of this user but the settings of npm and pip, which name registries. */
function environment() {
  const {
    PATH,
    LANG,
    npm_config_userconfig: settings = join(process.env.HOME ?? "/", ".npmrc"),
  } = process.env;
  const proxies = Object.entries(process.env).filter(([name]) =>
    /^(?:npm_config_registry|(?:https?|no)_proxy|PIP_\w+|NODE_EXTRA_CA_CERTS|SSL_CERT_FILE)$/i.test(name),
  );
  return {
    ...Object.fromEntries(proxies),
    PATH: PATH.split(":")
      .filter((folder) => !folder.includes("node_modules"))
      .join(":"),
    LANG: LANG ?? "C.UTF-8",
    TERM: "xterm-256color",
    HOME: home,
    npm_config_userconfig: settings,
    npm_config_cache: join(home, ".npm"),
    npm_config_update_notifier: "false",
  };
}

function start(line, cwd) {
  const command = new Command(line, { cwd, env: environment() });
  running.push(command);
  return command;
}

const run = (line, cwd) => start(line, cwd).done();

/** Waits for rows, and for a change of the page. */
async function watchDemo(page, url) {
  await page.goto(url);
  const rows = page.locator("tbody tr");
  await rows.first().waitFor();
  await page.waitForFunction(
    (before) => document.body.innerText !== before,
    await page.evaluate(() => document.body.innerText),
  );
}

async function tryDemo(page) {
  await steps.run("git clone", () => run(`git clone --quiet ${ROOT} ${clone}`, home));
  await steps.run("npm ci", () => run("npm ci", clone));
  const demo = start("npm run demo", clone);
  let url = "";
  await steps.run("npm run demo, until it prints the address of its page", async () => {
    [, url] = await demo.until(/(http:\/\/127\.0\.0\.1:\d+\/demo)/, LIMIT_MS);
    return demo;
  });
  await steps.run("the demo's page shows live rows", () => watchDemo(page, url));
  await steps.run("Ctrl-C ends the demo", () => demo.stop());
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A replica set of one node with a few documents, as a newcomer may have it already. */
async function startOwnMongodb() {
  const { findMongod } = await import(pathToFileURL(join(clone, "dist/source/mongod-binary.js")).href);
  const silent = { info() {}, warn() {}, error() {} };
  const { path } = await findMongod({ env: environment(), logger: silent });
  const data = join(home, "mongodb");
  await mkdir(data);
  const port = await freePort();
  const mongod = start(`${path} --dbpath ${data} --port ${port} --bind_ip 127.0.0.1 --replSet rs0`, home);
  const host = `127.0.0.1:${port}`;
  const client = await new MongoClient(`mongodb://${host}/?directConnection=true`).connect();
  await client.db("admin").command({ replSetInitiate: { _id: "rs0", members: [{ _id: 0, host }] } });
  await client.close();
  const uri = `mongodb://${host}/shop?replicaSet=rs0`;
  const shared = await new MongoClient(uri).connect();
  const orders = shared.db("shop").collection("orders");
  await orders.insertMany([
    { customerId: "ada", item: "tea" },
    { customerId: "ben", item: "not for ada" },
  ]);
  return { mongod, uri, client: shared, orders };
}

/** Other ports than those that `init` writes, which may be in use on this machine. */
async function moveToFreePorts(files) {
  const [service, admin, page] = [await freePort(), await freePort(), await freePort()];
  for (const file of files) {
    const text = await readFile(join(shop, file), "utf8");
    const moved = text.replaceAll("8480", String(service)).replaceAll("3000", String(page));
    await writeFile(join(shop, file), moved.replace(/^server:\n/m, `server:\n  admin: { port: ${admin} }\n`));
  }
  return page;
}

/** The edit that the comments of the configuration ask for. */
async function uncommentRule() {
  const file = join(shop, "config/tidewire.yaml");
  const text = await readFile(file, "utf8");
  const edited = text.replace(/ {4}rules: \[\]\n {4}# To let users.*\n((?: {4}# .*\n){3})/, (_, lines) =>
    lines.replaceAll("    # ", "    "),
  );
  if (edited === text) throw new Error("the configuration has no rule to uncomment");
  await writeFile(file, edited);
}

async function tryInit(page) {
  const { mongod, uri, client, orders } = await steps.run("a replica set of one's own", startOwnMongodb);
  try {
    const [archive] = await steps.run("npm pack, in place of the registry", async () => {
      await run(`npm pack --silent --pack-destination ${home}`, clone);
      return (await readdir(home)).filter((name) => name.endsWith(".tgz"));
    });
    const tidewire = join(home, archive);
    const init = await steps.run("npx tidewire init", () =>
      run(`npx --yes --package=${tidewire} tidewire init shop --uri '${uri}'`, home),
    );
    const [, packages] = await init.until(/npm install (tidewire .*)/);
    await steps.run("npm install, as init says", () =>
      run(`npm install ${packages.replace("tidewire", tidewire)}`, shop),
    );
    const port = await moveToFreePorts(["config/tidewire.yaml", "public/index.html"]);
    await steps.run("npx tidewire check", () => run("npx tidewire check", shop));
    await followList(page, port, orders);
  } finally {
    await client.close();
    await mongod.stop();
  }
}

async function followList(page, port, orders) {
  const service = start("npx tidewire start", shop);
  await steps.run("npx tidewire start", async () => {
    await service.until(/listening/);
    return service;
  });
  const backend = start(`env PORT=${port} node --env-file=.env backend.mjs`, shop);
  await steps.run("node backend.mjs", async () => {
    await backend.until(/http:\/\/127/);
    return backend;
  });
  await steps.run("the page says that no rule lets the user read yet", async () => {
    await page.goto(`http://127.0.0.1:${port}/`);
    await page.getByText("No rule of config/tidewire.yaml").waitFor();
  });
  await steps.run("an edit of the rules and a reload show the list", async () => {
    await uncommentRule();
    await service.until(/the edited rules are in force/);
    await page.reload();
    await page.locator("li", { hasText: "tea" }).waitFor();
  });
  await steps.run("a write appears, and no document of another user", async () => {
    await orders.insertOne({ customerId: "ada", item: "milk" });
    await page.locator("li", { hasText: "milk" }).waitFor();
    if ((await page.locator("li", { hasText: "not for ada" }).count()) > 0)
      throw new Error("the page shows too much");
  });
  await steps.run("Ctrl-C ends the service", () => service.stop());
  await backend.stop();
}

if (!existsSync(CHROMIUM)) {
  console.error(`There is no Chromium at ${CHROMIUM}. Install it, or set CHROMIUM.`);
  process.exit(2);
}
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
try {
  const page = await browser.newPage();
  await tryDemo(page);
  await tryInit(page);
  console.log(`\nall of it: ${seconds(steps.totalMs)} s`);
  const complaints = steps.complaints(LIMIT_MS);
  for (const complaint of complaints) console.error(complaint);
  process.exitCode = complaints.length === 0 ? 0 : 1;
} finally {
  await browser.close();
  for (const command of running.reverse()) await command.stop().catch(() => {}); // The first error is the one to report.
  await rm(home, { recursive: true, force: true, maxRetries: 5 });
}
