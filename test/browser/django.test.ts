/** The Django example as its README starts it: the page in a real browser, and the command. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { isBrowserMissing, openPage, PATIENCE } from "../support/browser.ts";
import { ROOT } from "../support/build.ts";
import { skipWithout } from "../support/installed.ts";
import { pythonEnv, pythonWith } from "../support/python.ts";
import { Running } from "../support/running.ts";
import { SECRET, startTestService } from "../support/service.ts";

const run = promisify(execFile);
const FOLDER = join(ROOT, "examples", "django");
/** As in config/tidewire.yaml. */
const COLLECTIONS = {
  orders: {
    rules: [
      { name: "staff", when: { "%%user.roles": { $in: ["admin", "support"] } } },
      { name: "customer", filter: { customerId: "%%user.sub" }, fields: { exclude: ["margin"] } },
    ],
  },
};
/** The client itself is found in its source folder. */
const REQUIREMENTS = readFileSync(join(FOLDER, "requirements.txt"), "utf8")
  .trim()
  .split("\n")
  .map((line) => (line === "tidewire" ? "websockets>=15" : line));

async function start(python: string) {
  const { db, name, service, uri } = await startTestService({
    collections: COLLECTIONS,
    server: { origins: ["*"] },
  });
  const folder = await mkdtemp(join(tmpdir(), "tidewire-django-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const env = {
    ...process.env,
    ...pythonEnv(),
    PYTHONUNBUFFERED: "1",
    MONGODB_URI: uri,
    MONGODB_DATABASE: name,
    TIDEWIRE_JWT_SECRET: SECRET,
    TIDEWIRE_URL: `http://127.0.0.1:${service.address.port}`,
    DJANGO_DATABASE: join(folder, "db.sqlite3"),
    DJANGO_SUPERUSER_PASSWORD: "a password",
  };
  const manage = (...args: readonly string[]) =>
    run(python, ["manage.py", ...args], { cwd: FOLDER, env, timeout: 120_000 });
  await manage("migrate", "--verbosity", "0");
  await manage("createsuperuser", "--username", "ada", "--email", "", "--noinput");
  const command = (...args: readonly string[]) => new Running(python, ["manage.py", ...args], FOLDER, env);
  return { orders: db.collection("orders"), command, folder };
}

test.skipIf(isBrowserMissing)(
  "Django: a user logs in, sees their orders live and their own order at once, and the command follows all orders",
  async ({ skip }) => {
    const found = await pythonWith(...REQUIREMENTS);
    if ("missing" in found) return skipWithout(skip, found.missing);
    const { orders, command, folder } = await start(found.python);
    const store = join(folder, "store");
    const follower = command("follow_orders", "--store", store);
    const server = command("runserver", "--noreload", "127.0.0.1:0");
    const [, url = ""] = await server.line(/^Starting development server at (http:\S+)$/);
    const page = await openPage();
    await page.goto(url);
    await page.getByLabel("Username").fill("ada");
    await page.getByLabel("Password").fill("a password");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("status").filter({ hasText: "live" }).waitFor();

    const items = () => page.getByRole("listitem").allTextContents();
    await page.getByLabel("Item").fill("a lamp");
    await page.getByRole("button", { name: "Order" }).click();
    // The form is empty again after the fence, so the list shows the order by then.
    await expect.poll(() => page.getByLabel("Item").inputValue(), PATIENCE).toBe("");
    expect(await items()).toEqual(["a lamp"]);
    await orders.insertMany([
      { customerId: "ada", item: "a desk", status: "open", at: new Date() },
      { customerId: "ben", item: "a chair", status: "open", at: new Date() },
    ]);
    await expect.poll(items, PATIENCE).toEqual(["a lamp", "a desk"]);

    // The command may have started after the first orders. It prints those that it has seen.
    await follower.line(/^open: .*"item": "a chair"/);
    follower.child.kill("SIGINT");
    await expect.poll(() => follower.child.exitCode ?? follower.child.signalCode, PATIENCE).toBe(0);
    await orders.updateOne({ item: "a chair" }, { $set: { status: "paid" } });
    await command("follow_orders", "--store", store).line(/^no longer open: [0-9a-f]{24}$/);
  },
);
