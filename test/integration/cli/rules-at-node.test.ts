/** `tidewire rules … --admin URL`: a running node edits the rules, with neither the configuration nor a connection to MongoDB. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { stringify } from "yaml";
import { digestOf } from "../../../src/admin/access/digest.ts";
import type { AdminRole } from "../../../src/gateway/admin-options.ts";
import { runCommand } from "../../support/command.ts";
import { pushRules } from "../../support/rule-sets.ts";
import { startTestService, testConfig } from "../../support/service.ts";

const EVERYONE = { items: { rules: [{ name: "everyone" }] } };
const OWN = { items: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] } };

const secretOf = (name: string) => `the-secret-of-${name}-for-the-commands-of-a-test`;
const tokenOf = (name: string, roles: readonly AdminRole[]) => ({
  name,
  sha256: digestOf(secretOf(name)).toString("hex"),
  roles,
});

async function start(rules: object = { from: "database" }) {
  const tokens = [tokenOf("ada", ["view", "edit"]), tokenOf("cyd", ["view"])];
  const started = await startTestService({
    collections: EVERYONE,
    rules: { ...rules },
    server: { node: "rack-1", admin: { port: 0, tokens } },
  });
  const folder = await mkdtemp(join(tmpdir(), "tidewire-rules-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const url = `http://127.0.0.1:${started.service.adminAddress.port}`;
  const as =
    (admin: string) =>
    (...args: string[]) =>
      runCommand(["rules", ...args, "--admin", url, "--config", join(folder, "there-is-none.yaml")], {
        env: { TIDEWIRE_ADMIN_TOKEN: secretOf(admin), OWNER: "%%user.sub" },
      });
  const at = (name: string) => join(folder, name);
  /** The same command on the database. */
  const direct = async (...args: string[]) => {
    const { uri, name } = started;
    const config = testConfig(uri, name, { collections: EVERYONE, rules: { from: "database" } });
    await writeFile(at("tidewire.yaml"), stringify(config));
    return runCommand(["rules", ...args, "--config", at("tidewire.yaml")]);
  };
  return { ...started, at, as, direct, rules: as("ada") };
}

test("pulls, pushes and reverts: with the effect on live subscriptions, and each node that follows", async () => {
  const { at, rules, as, connect, client, name, service } = await start();
  const user = await connect({ sub: "ada" });
  await user.ask({ type: "subscribe", id: "1", collection: "items" });
  const file = at("rules.yaml");
  expect(await as("cyd")("pull", file)).toMatchObject({ code: 0 });
  expect(await rules("pull", file)).toMatchObject({ code: 1, err: expect.stringContaining("--force") });
  const text = await readFile(file, "utf8");
  expect(text).toContain("parent: 1");
  await writeFile(
    file,
    text.replace("name: everyone", `name: own\n        filter: { owner: "$\{OWNER}" } # theirs`),
  );
  expect(await rules("push", file, "--dry-run")).toMatchObject({
    code: 0,
    out: expect.stringMatching(/\+ own[\s\S]*live: 1 subscription of 1 connection[\s\S]*--dry-run/),
  });
  expect(await as("cyd")("push", file, "-m", "x")).toMatchObject({
    code: 1,
    err: expect.stringMatching(/answers 403: .*edit/),
  });
  expect(await rules("push", file, "-m", "owners only")).toMatchObject({
    code: 0,
    err: "",
    out: expect.stringMatching(/rule set 2 is in force\n {2}rack-1: in force after \d+ ms$/),
  });
  expect(service.readiness()).toMatchObject({ rulesGeneration: 2 });
  expect(await readFile(file, "utf8")).toContain("parent: 2");
  expect(await rules("push", file, "-m", "again")).toMatchObject({
    code: 0,
    out: expect.stringContaining("nothing was applied"),
  });
  expect(await rules("revert", "1")).toMatchObject({
    code: 0,
    out: expect.stringMatching(/everyone[\s\S]*rule set 3 is in force/),
  });
  const sets = client.db(`${name}-state`).collection("ruleSets");
  expect(await sets.findOne({ parent: 1 })).toMatchObject({
    author: "token:ada",
    message: "owners only",
    collections: expect.stringContaining("%%user.sub"),
  });
  expect(await rules("push", file, "-m", "late")).toMatchObject({
    code: 1,
    err: expect.stringMatching(
      /rule set 3 .*token:ada .*Revert[\s\S]*starts from rule set 2[\s\S]*tidewire rules pull/,
    ),
  });
  expect(await rules("revert", "9")).toMatchObject({
    code: 1,
    err: expect.stringContaining("no rule set 9"),
  });
});

test("log and diff print through a node what they print from the database, and need the role view alone", async () => {
  const { as, direct, client, name } = await start();
  const owned = { tests: [{ name: "t", as: { sub: "ada" }, collection: "items", rule: "own" }] };
  await pushRules(client, name, OWN, {
    tests: stringify(owned),
    message: "owners only\n\nbecause",
    plan: { diff: { limits: [], collections: [] } },
    testResult: { tests: 1, failed: 0 },
  });
  const viewer = as("cyd");
  for (const command of [
    ["log"],
    ["log", "--limit", "1"],
    ["log", "--json"],
    ["diff", "1", "2"],
    ["diff", "1"],
    ["diff", "2", "1", "--json"],
    ["diff", "2", "2"],
  ]) {
    const expected = await direct(...command);
    expect(expected).toMatchObject({ code: 0, out: expect.stringMatching(/./) });
    expect([command, await viewer(...command)]).toEqual([command, expected]);
  }
  expect((await viewer("log")).out.split("\n")).toHaveLength(2);
  expect((await viewer("diff", "1")).out).toMatch(/own[\s\S]*the rule tests differ/);
  expect(await viewer("diff", "1", "9")).toMatchObject({
    code: 1,
    err: expect.stringMatching(/no rule set 1 or 9.*tidewire rules log/),
  });
  const sets = client.db(`${name}-state`).collection("ruleSets");
  await sets.updateOne({ _id: 1 as never }, { $set: { collections: "items: 3" } });
  expect(await viewer("diff", "1", "2")).toMatchObject({
    code: 1,
    err: expect.stringMatching(/answers 409: the sets cannot be compared/),
  });
  expect(await as("nobody")("log")).toMatchObject({
    code: 1,
    err: expect.stringContaining("accept the token"),
  });
});

test("a log of more sets than the node answers at once has all of them", async () => {
  const { as, client, name } = await start({}); // so that the node follows none of the edits
  for (let n = 0; n < 202; n++) await pushRules(client, name, n % 2 === 0 ? OWN : EVERYONE);
  const { out } = await as("cyd")("log", "--limit", "1000");
  const numbers = out.split("\n").map((line) => Number(line.slice(2, 6)));
  expect(numbers).toEqual(Array.from({ length: 202 }, (_, n) => 202 - n));
  const { out: first } = await as("cyd")("log", "--limit", "201");
  expect(first).toBe(out.split("\n").slice(0, 201).join("\n"));
});

test("refuses mistakes, failing tests and other options, and a node whose rules are in its file", async () => {
  const { at, rules, client, name } = await start();
  const file = at("rules.yaml");
  const push = async (content: object) => {
    await writeFile(file, stringify(content));
    return rules("push", file, "-m", "x");
  };
  expect(await push({ parent: 1, collections: { items: { rules: [{ nme: "a" }] } } })).toMatchObject({
    code: 1,
    err: expect.stringMatching(
      /rules\.yaml: collections\.items\.rules\[0\]\.nme: unknown key[\s\S]*has mistakes/,
    ),
  });
  const seen = (kind: string) => ({
    tests: [
      {
        name: "t",
        as: { sub: "ada" },
        collection: "items",
        documents: [{ [kind]: { _id: 1, owner: "ben" } }],
      },
    ],
  });
  await writeFile(at("a.test.yaml"), stringify(seen("hidden")));
  await writeFile(at("b.test.yaml"), stringify(seen("visible")));
  expect(await push({ parent: 1, collections: OWN })).toMatchObject({
    code: 1,
    err: expect.stringContaining("1 of 2 rule tests fail"),
  });
  await writeFile(at("b.test.yaml"), "tests: 3\n");
  expect(await push({ parent: 1, collections: OWN })).toMatchObject({
    code: 1,
    err: expect.stringMatching(/b\.test\.yaml:1:\d+: tests/),
  });
  await rm(at("b.test.yaml"));
  await pushRules(client, name, EVERYONE);
  expect(await push({ collections: OWN })).toMatchObject({
    code: 1,
    err: expect.stringContaining("tidewire rules pull"),
  });
  expect(await push({ parent: 2, collections: OWN })).toMatchObject({
    code: 0,
    out: expect.stringContaining("tests: 1 passed"),
  });
  expect(await rules("push", file, "-m", "x", "--author", "ben")).toMatchObject({
    code: 2,
    err: expect.stringContaining("--author"),
  });

  const inFile = await start({});
  await writeFile(inFile.at("rules.yaml"), stringify({ collections: OWN }));
  expect(await inFile.rules("push", inFile.at("rules.yaml"), "-m", "x")).toMatchObject({
    code: 1,
    err: expect.stringContaining("rules.from: file"),
  });
  for (const command of [
    ["pull", inFile.at("pulled.yaml")],
    ["revert", "1"],
  ])
    expect(await inFile.rules(...command)).toMatchObject({
      code: 1,
      err: expect.stringContaining("rules.from: file"),
    });
});
