/** The demo as newcomers run it: a process of its own, in an empty directory. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import type { Db } from "mongodb";
import { expect, test } from "vitest";
import { exited } from "../support/guard.ts";
import { until } from "../support/mongod.ts";
import { emptyDirectory, MAIN, Running, startDemo } from "../support/running.ts";
import { untilPasses } from "../support/until-passes.ts";

/** The documents of a viewer according to the lines printed for it. */
function replay(lines: readonly string[], viewer: string): unknown[] {
  const held = new Map<number, unknown>();
  for (const line of lines) {
    const [, name, mark, text = ""] = /^[\d:]+ (\w+) +([=+~*-]) (.*)$/.exec(line) ?? [];
    if (name !== viewer) continue;
    if (mark === "*") {
      if (text.startsWith("reset") || text === "snapshot") held.clear();
      continue;
    }
    const document = JSON.parse(text) as { _id: number };
    if (mark === "-")
      assert(held.delete(document._id), `${viewer} received the removal of ${document._id} twice`);
    else held.set(document._id, document);
  }
  return [...held.entries()].sort(([a], [b]) => a - b).map(([, document]) => document);
}

/** The result that the rules of config/demo.yaml allow, as `find` returns it. */
async function expectViewsAsFound(lines: readonly string[], db: Db): Promise<void> {
  const orders = db.collection("orders");
  const find = (filter: object, projection: object) =>
    orders.find(filter).project(projection).sort({ _id: 1 }).toArray();
  expect(replay(lines, "ada")).toEqual(await find({}, {}));
  expect(replay(lines, "ben")).toEqual(await find({ customer: "ben" }, { margin: 0, courier: 0 }));
  expect(replay(lines, "cleo")).toEqual(
    await find(
      { courier: "cleo", status: { $in: ["ready", "riding"] } },
      { status: 1, address: 1, courier: 1 },
    ),
  );
}

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test("shows each viewer the result of find, confirms that at the end, and writes no other files", async () => {
  const { demo, db, directory } = await startDemo(["--seconds", "6", "--rate", "12"]);
  const { code } = await exited(demo.child);
  expect(code, demo.errors.join("\n")).toBe(0);
  await expectViewsAsFound(demo.lines, db);
  expect(demo.lines.filter((line) => line.includes("as find shows them"))).toHaveLength(3);
  expect(demo.lines.filter((line) => / ada {2}[+~-] /.test(line)).length).toBeGreaterThan(10);
  expect(demo.lines.filter((line) => / (ben|cleo) /.test(line) && line.includes("margin"))).toEqual([]);
  expect(await readdir(directory)).toEqual([".tidewire"]);
});

test("the printed command follows a view; a killed service is started again, and no viewer misses a change", async () => {
  const { demo, db, directory, env } = await startDemo(["--rate", "6"]);
  const [, servicePid, backendPid] = await demo.line(/service: process (\d+), backend: process (\d+)/);
  const [command] = await demo.line(/^ *node .*main\.js tail --url .*$/);
  const tail = new Running("sh", ["-c", `exec ${command.trim()}`], directory, env);
  const [, first = ""] = await tail.line(/^\+ insert (.*)$/);
  expect(JSON.parse(first)).toMatchObject({ customer: "ben", status: "new" });
  expect(first).not.toContain("margin");

  // A viewer without a result has no cursor to resume from.
  for (const viewer of ["ada ", "ben ", "cleo"]) await demo.line(new RegExp(` ${viewer} \\* snapshot$`));
  await demo.line(/ ada {2}~ /);
  process.kill(Number(servicePid), "SIGKILL");
  await demo.line(/the service ended \(SIGKILL\) and is started again/);
  for (const viewer of ["ada ", "ben ", "cleo"]) await demo.line(new RegExp(` ${viewer} \\* resumed$`));
  await until("the tail to resume", async () => tail.errors.some((line) => line.includes("resumed")));

  // Stopped, the backend writes nothing while the views are compared.
  process.kill(Number(backendPid), "SIGSTOP");
  await untilPasses(() => expectViewsAsFound(demo.lines, db), { interval: 100 });
  process.kill(Number(backendPid), "SIGKILL");
  await demo.line(/the backend ended \(SIGKILL\) and is started again/);
  const linesBefore = demo.lines.length;
  const hasWritten = () => demo.lines.slice(linesBefore).some((line) => / ada {2}[+~-] /.test(line));
  await until("the new backend to write", async () => hasWritten());
  demo.child.kill("SIGINT");
  const { code } = await exited(demo.child);
  expect(code, demo.errors.join("\n")).toBe(0);
});

test.each(["SIGINT", "SIGKILL"] as const)("after %s no process or file is left", async (signal) => {
  const directory = await emptyDirectory();
  const { MONGODB_URI: _, ...env } = process.env;
  const demo = new Running(process.execPath, [MAIN, "demo"], directory, env);
  const [, servicePid, backendPid] = await demo.line(/service: process (\d+), backend: process (\d+)/);
  await demo.line(/ ada {2}\+ /);
  const mongodPid = await readFile(join(directory, ".tidewire/demo/mongodb/mongod.lock"), "utf8");
  const pids = [servicePid, backendPid, mongodPid].map(Number);
  expect(pids.map(isAlive)).toEqual([true, true, true]);
  demo.child.kill(signal);
  const { code } = await exited(demo.child);
  expect(code).toBe(signal === "SIGINT" ? 0 : null);
  await until("the end of all processes", async () => !pids.some(isAlive));
  expect(await readdir(directory)).toEqual([".tidewire"]);
});

test("reports an unusable MongoDB in one line", async () => {
  const directory = await emptyDirectory();
  const env = { ...process.env, MONGODB_URI: "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=500" };
  const demo = new Running(process.execPath, [MAIN, "demo"], directory, env);
  expect(await exited(demo.child)).toMatchObject({ code: 1 });
  expect(demo.errors.join("\n")).toMatch(/MongoDB cannot be reached/);
  expect(demo.errors.join("\n")).not.toMatch(/\n\s+at /);
});

test("the page's service hands out tokens and takes edits from the page alone", async () => {
  const { demo, client, name } = await startDemo(["--rate", "1"]);
  const [, page = ""] = await demo.line(/in a browser: (\S+)/);
  const { origin, port } = new URL(page);
  const ask = (name: string, headers: Record<string, string>, body: object = { viewer: "ada" }) =>
    new Promise<number | undefined>((resolve, reject) => {
      const asked = request(`${origin}/demo/api/${name}`, { method: "POST", headers }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      asked.on("error", reject).end(JSON.stringify(body));
    });
  expect(await ask("token", { Origin: origin })).toBe(200);
  const others = [{}, { Origin: "http://elsewhere.example" }, { Origin: "null" }];
  for (const headers of others) expect(await ask("token", headers)).toBe(403);
  // A name of somebody else's that has been made to lead here.
  const rebound = `elsewhere.example:${port}`;
  expect(await ask("token", { Host: rebound, Origin: `http://${rebound}` })).toBe(403);
  expect(await ask("kill", { Origin: "http://elsewhere.example" })).toBe(403);

  const sets = client.db(`${name}-state`).collection("ruleSets");
  const before = await sets.find().toArray();
  expect(before).toMatchObject([{ _id: 1, author: "demo" }, { set: 1 }]);
  const rules = (text: unknown, set: unknown = 1) => ask("rules", { Origin: origin }, { text, set });
  expect(await rules("- name: everybody\nserver: { origins: [x] }")).toBe(200);
  expect(await rules(7)).toBe(400);
  expect(await rules("- name: everybody", "1")).toBe(400);
  expect(
    await ask("rules", { Origin: "http://elsewhere.example" }, { text: "- name: everybody", set: 1 }),
  ).toBe(403);
  expect(await ask("rate", { Origin: origin }, { rate: 1e9 })).toBe(400);
  expect(await ask("token", { Origin: origin }, { viewer: "root" })).toBe(400);
  expect(await ask("token", { Origin: origin }, { viewer: "x".repeat(100_000) })).toBe(413);
  expect(await sets.find().toArray()).toEqual(before);
});
