/** Runs the commands of README.md. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { stringify } from "yaml";
import { parseConfig } from "../../src/config/config.ts";
import { ROOT } from "../support/build.ts";
import { endWithUs } from "../support/guard.ts";
import { testDatabase, until } from "../support/mongod.ts";
import { SECRET, signToken, startTestService } from "../support/service.ts";

const run = promisify(execFile);
const page = readFileSync(join(ROOT, "README.md"), "utf8");
const blocks = (language: string) =>
  Array.from(
    page.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, "g")),
    ([, text = ""]) => text,
  );

test("the README is short enough to be read", () => {
  expect(page.split("\n").length).toBeLessThanOrEqual(150);
});

test("every npm command is one that there is", () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { scripts: object };
  const named = Array.from(page.matchAll(/npm (?:run )?([\w:-]+)/g), ([, name = ""]) => name);
  expect(named).toContain("demo");
  for (const name of named.filter((one) => one !== "ci")) expect(scripts).toHaveProperty([name]);
});

test("the client is at most fifteen lines, and holds what find shows, through inserts, changes and deletions", async () => {
  const [code = ""] = blocks("js");
  expect(code.trim().split("\n").length).toBeLessThanOrEqual(15);
  const { service, db } = await startTestService({
    collections: {
      orders: {
        rules: [{ name: "customer", filter: { customerId: "%%user.sub" }, fields: { exclude: ["margin"] } }],
      },
    },
  });
  const orders = db.collection<{ _id: number; [field: string]: unknown }>("orders");
  await orders.insertMany([
    { _id: 1, customerId: "ada", total: 1, margin: 1 },
    { _id: 2, customerId: "ada", total: 2, margin: 1 },
  ]);
  let shown: unknown[] = [];
  let socket: WebSocket | undefined;
  /** The one that the snippet makes, kept so that it can be closed. */
  class KnownWebSocket extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url.replace("8480", String(service.address.port)), protocols);
      socket = this;
    }
  }
  onTestFinished(() => socket?.terminate());
  const token = await signToken({ sub: "ada" });
  const show = (list: unknown[]) => {
    shown = list;
  };
  // The snippet, with all that it needs from around it.
  new Function("WebSocket", "token", "show", code)(KnownWebSocket, token, show);
  const asFound = async () => {
    const found = await orders.find({ customerId: "ada" }).project({ margin: 0 }).sort({ _id: 1 }).toArray();
    await expect.poll(() => shown, { timeout: 60_000 }).toEqual(found);
  };
  await asFound();
  await orders.insertOne({ _id: 3, customerId: "ada", total: 3, margin: 1 });
  await asFound();
  await orders.updateOne({ _id: 1 }, { $set: { total: 9 } });
  await asFound();
  await orders.updateOne({ _id: 2 }, { $set: { customerId: "ben" } });
  await orders.deleteOne({ _id: 3 });
  await asFound();
});

test("the rule is one that the service takes", () => {
  const [rule = ""] = blocks("yaml");
  const rest = stringify({
    mongodb: { database: "shop" },
    auth: { jwt: { algorithms: ["HS256"], secret: SECRET } },
  });
  const parsed = parseConfig(`${rest}${rule}`, "README.md", {});
  expect(parsed.ok ? [] : parsed.problems).toEqual([]);
});

/** Lines of a process, as they come. */
function linesOf(child: ChildProcess): string[] {
  const lines: string[] = [];
  assert(child.stdout !== null);
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
  return lines;
}

test("the commands for one's own MongoDB work one after another", async () => {
  const commands = blocks("sh").find((block) => block.includes("tidewire start")) ?? "";
  const typed = Array.from(
    commands.matchAll(/npx tidewire ([a-z]+)((?: --[\w-]+ \w+)*)/g),
    ([, name = "", flags = ""]) => [name, ...flags.split(" ").filter((word) => word !== "")],
  );
  expect(typed.map(([name]) => name)).toEqual(["check", "start", "tail", "token"]);
  const [check = [], start = [], tail = [], token = []] = typed;

  const { client, uri } = await testDatabase();
  onTestFinished(async () => {
    for (const name of ["shop", "tidewire"]) await client.db(name).dropDatabase();
  });
  const env = { ...process.env, MONGODB_URI: uri, TIDEWIRE_JWT_SECRET: SECRET };
  const main = join(ROOT, "dist", "cli", "main.js");
  const tidewire = (args: readonly string[]) => {
    const child = spawn(process.execPath, [main, ...args], {
      cwd: ROOT,
      env,
      stdio: ["ignore", "pipe", "ignore"],
    });
    endWithUs(child);
    onTestFinished(() => void child.kill("SIGKILL"));
    return linesOf(child);
  };
  const once = async (args: readonly string[]) =>
    (await run(process.execPath, [main, ...args], { cwd: ROOT, env })).stdout.trim();

  expect(await once(check)).toMatch(/^ok: config\/tidewire\.yaml/);
  // Ports are the system's here, so that tests can run beside whatever else does.
  const log = tidewire([...start, "--port", "0", "--admin-port", "0"]);
  const [, port] = await until("listening", async () => {
    const line = log.find((one) => one.includes('"listening"'));
    return line === undefined ? undefined : (/"port":(\d+)/.exec(line) ?? undefined);
  });
  const url = ["--url", `ws://127.0.0.1:${port}`];
  const lines = tidewire([...tail, "--token", await once(token), ...url]);
  const orders = client.db("shop").collection<{ _id: string; customerId: string }>("orders");
  await orders.insertMany([
    { _id: "theirs", customerId: "ada" },
    { _id: "another", customerId: "ben" },
  ]);
  await until("the order in the terminal", async () => lines.some((line) => line.includes("theirs")));
  await orders.deleteMany({});
  await until("its end", async () => lines.some((line) => line === '- delete "theirs"'));
  expect(lines.filter((line) => line.includes("another"))).toEqual([]);
});
