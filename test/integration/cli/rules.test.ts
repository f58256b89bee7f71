/** `tidewire rules` in this process, on the state database of running nodes and of none. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { stringify } from "yaml";
import { runCommand } from "../../support/command.ts";
import { testDatabase } from "../../support/mongod.ts";
import { pushRules } from "../../support/rule-sets.ts";
import { startTestService, testConfig } from "../../support/service.ts";

const EVERYONE = { items: { rules: [{ name: "everyone" }] } };
const OWN = { items: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] } };
const DATABASE = { rules: { from: "database" } };

async function folderWith(config: object) {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-rules-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const at = (name: string) => join(folder, name);
  await writeFile(at("tidewire.yaml"), stringify(config));
  const rules = (...args: string[]) => runCommand(["rules", ...args, "--config", at("tidewire.yaml")]);
  return { at, rules };
}

/** A folder on a database without nodes. */
async function withoutNodes(options: object = {}) {
  const { uri, name, client } = await testDatabase();
  onTestFinished(() =>
    client
      .db(`${name}-state`)
      .dropDatabase()
      .then(() => {}),
  );
  const config = testConfig(uri, name, { collections: EVERYONE, ...DATABASE, ...options });
  return { ...(await folderWith(config)), client, name, config };
}

test("moves the rules of a file to the database, and the file is refused as long as it has them, too", async () => {
  const { uri, name, client } = await testDatabase();
  onTestFinished(() =>
    client
      .db(`${name}-state`)
      .dropDatabase()
      .then(() => {}),
  );
  const config = testConfig(uri, name, { collections: EVERYONE });
  const { at, rules } = await folderWith(config);
  const push = () => rules("push", at("tidewire.yaml"), "-m", "the rules so far");
  expect(await push()).toMatchObject({
    code: 0,
    out: expect.stringMatching(/this is the first rule set\nrule set 1 is in force\n.*no node/),
    err: expect.stringMatching(/^note: nodes of this configuration still read/),
  });
  await writeFile(at("tidewire.yaml"), stringify({ ...config, rules: { from: "database" } }));
  const check = () => runCommand(["check", "--config", at("tidewire.yaml")]);
  expect(await check()).toMatchObject({
    code: 1,
    err: expect.stringMatching(/collections: rules\.from is database.*`tidewire rules push FILE -m TEXT`/),
  });
  // The file can still be pushed, because it names the command that moves the rules.
  expect(await push()).toMatchObject({
    code: 1,
    err: expect.stringMatching(/has no parent.*tidewire rules pull/),
  });
  const { collections: _, ...rest } = config as { collections?: unknown };
  await writeFile(at("tidewire.yaml"), stringify({ ...rest, rules: { from: "database" } }));
  expect(await check()).toMatchObject({ code: 0 });
  expect(
    await runCommand(["explain", "--config", at("tidewire.yaml"), "--collection", "items"]),
  ).toMatchObject({
    code: 1,
    err: expect.stringContaining("tidewire rules pull rules.yaml"),
  });
});

test("pull, edit, push: the file keeps its comments, starts from the new set, and a pull loses no edits", async () => {
  const { at, rules, client, name } = await withoutNodes();
  const file = at("rules.yaml");
  await writeFile(file, `collections:\n  items: # all items\n    rules: [{ name: everyone }]\n`);
  expect(await rules("push", file, "-m", "first", "--author", "ada")).toMatchObject({ code: 0 });
  expect(await rules("pull", file)).toMatchObject({ code: 1, err: expect.stringContaining("--force") });
  const pulled = at("pulled.yaml");
  expect(await rules("pull", pulled)).toMatchObject({
    code: 0,
    out: expect.stringContaining("rule set 1 (ada"),
  });
  const text = await readFile(pulled, "utf8");
  expect(text).toContain("# all items");
  expect(text).toContain("parent: 1");
  await writeFile(pulled, text.replace("name: everyone", "name: own, filter: { owner: '%%user.sub' }"));
  expect(await rules("pull", pulled)).toMatchObject({ code: 1, err: expect.stringContaining("not pushed") });
  expect(await rules("push", pulled, "-m", "x", "--dry-run")).toMatchObject({
    code: 0,
    out: expect.stringMatching(/own[\s\S]*nothing was applied \(--dry-run\)/),
  });
  expect(await rules("push", pulled, "-m", "owners only\n\nbecause", "--author", "ben")).toMatchObject({
    code: 0,
    err: "",
    out: expect.stringContaining("rule set 2 is in force"),
  });
  expect(await readFile(pulled, "utf8")).toContain("parent: 2");
  expect(await rules("push", pulled, "-m", "again")).toMatchObject({
    code: 0,
    out: expect.stringContaining("already"),
  });
  expect((await rules("log")).out).toMatch(
    /^\* {4}2 {2}\S+Z {2}ben {2}no tests {2}owners only\n {5}1 {2}\S+Z {2}ada {2}/,
  );
  expect(JSON.parse((await rules("log", "--json", "--limit", "1")).out)).toMatchObject([
    {
      number: 2,
      parent: 1,
      author: "ben",
      message: "owners only\n\nbecause",
      plan: { diff: { collections: [{}] } },
    },
  ]);
  expect((await rules("diff", "1")).out).toMatch(/^from rule set 1 to 2:\nitems\n/);
  expect(JSON.parse((await rules("diff", "2", "1", "--json")).out)).toMatchObject({ from: 2, to: 1 });
  expect(await rules("revert", "1", "-m", "wrong")).toMatchObject({
    code: 0,
    out: expect.stringMatching(/everyone[\s\S]*rule set 3 is in force/),
  });
  const audit = client.db(`${name}-state`).collection("audit");
  expect(await audit.find({}, { sort: { _id: 1 } }).toArray()).toMatchObject([
    { act: "apply-rules", target: { parent: 0, author: "ada", message: "first" } },
    { act: "apply-rules", target: { parent: 1, author: "ben", message: "owners only" } },
    { act: "revert-rules", target: { parent: 2, message: "wrong" } },
  ]);
  expect(await rules("push", pulled, "-m", "late")).toMatchObject({
    code: 1,
    err: expect.stringMatching(/starts from rule set 2, and rule set 3 \(.*: wrong\) came into force since/),
  });
});

test("refuses mistakes with their line, failing tests, and a set that is too large, and nothing is written", async () => {
  const { at, rules, client, name } = await withoutNodes({ rules: { from: "database", setBytes: "2KiB" } });
  const file = at("rules.yaml");
  const push = async (text: string) => {
    await writeFile(file, text);
    return rules("push", file, "-m", "x");
  };
  expect(await push("collections:\n  items:\n    rules: [{ name: a, filtr: {} }]\n")).toMatchObject({
    code: 1,
    err: expect.stringMatching(/rules\.yaml:3:\d+: collections\.items\.rules\[0\]\.filtr: unknown key/),
  });
  expect(await push("server: {}\n")).toMatchObject({
    code: 1,
    err: expect.stringMatching(/collections: missing/),
  });
  expect(await push("parent: x\ncollections: { items: { rules: [] } }\n")).toMatchObject({
    code: 1,
    err: expect.stringMatching(/rules\.yaml:1:\d+: parent: /),
  });
  const tests =
    "tests:\n  - name: all see all\n    as: { sub: ada }\n    collection: items\n    documents:\n      - visible: { _id: 1, owner: ben }\n";
  expect(await push(`${stringify({ collections: OWN })}${tests}`)).toMatchObject({
    code: 1,
    err: expect.stringMatching(/rules\.yaml:1\d:\d+: all see all[\s\S]*1 of 1 rule tests fail/),
  });
  await writeFile(at("rules.test.yaml"), tests);
  expect(await push(stringify({ collections: OWN }))).toMatchObject({
    code: 1,
    err: expect.stringMatching(/rules\.test\.yaml:\d+:\d+: all see all/),
  });
  await rm(at("rules.test.yaml"));
  expect(await push(`${stringify({ collections: OWN })}# ${"x".repeat(10)}\n`)).toMatchObject({ code: 0 });
  const long = { items: { rules: [{ name: "long", filter: { a: { $in: ["x".repeat(2_048)] } } }] } };
  expect(await push(stringify({ parent: 1, collections: long }))).toMatchObject({
    code: 1,
    err: expect.stringMatching(/more than rules\.setBytes \(2KiB\)/),
  });
  expect(await client.db(`${name}-state`).collection("ruleSets").countDocuments()).toBe(2);
});

test("the tests are saved with the rules and run again before a revert", async () => {
  const { at, rules } = await withoutNodes();
  const file = at("rules.yaml");
  await writeFile(file, stringify({ collections: OWN }));
  const seen = {
    name: "own",
    as: { sub: "ada" },
    collection: "items",
    documents: [{ hidden: { _id: 1, owner: "ben" } }],
  };
  await writeFile(at("rules.test.yaml"), stringify({ tests: [seen] }));
  expect(await rules("push", file, "-m", "x")).toMatchObject({
    code: 0,
    out: expect.stringContaining("tests: 1 passed"),
  });
  await rules("pull", file, "--force");
  expect(await readFile(file, "utf8")).toContain("name: own");
  await writeFile(file, stringify({ parent: 1, collections: EVERYONE }));
  await rm(at("rules.test.yaml"));
  expect(await rules("push", file, "-m", "x")).toMatchObject({
    code: 0,
    out: expect.stringContaining("no rule tests"),
  });
  expect(await rules("revert", "1")).toMatchObject({
    code: 0,
    out: expect.stringContaining("tests: 1 passed"),
  });
  expect((await rules("log", "--limit", "1")).out).toContain("1 tests  Revert to rule set 1");
});

test("keeps rules.setsKept sets", async () => {
  const { at, rules, client, name } = await withoutNodes({ rules: { from: "database", setsKept: 3 } });
  const file = at("rules.yaml");
  for (let n = 0; n < 5; n++) {
    const collections = { items: { rules: [{ name: `rule-${n}` }] } };
    await writeFile(file, stringify(n === 0 ? { collections } : { parent: n, collections }));
    expect(await rules("push", file, "-m", `edit ${n}`)).toMatchObject({ code: 0 });
  }
  const kept = await client.db(`${name}-state`).collection("ruleSets").distinct("_id");
  expect(kept.sort()).toEqual([3, 4, 5, "inForce"]);
  expect(await rules("revert", "1")).toMatchObject({
    code: 1,
    err: expect.stringContaining("rules.setsKept"),
  });
});

test("push waits for the nodes and prints each, and says which of them cannot apply the set", async () => {
  const {
    service,
    client,
    name,
    file: config,
  } = await startTestService({ collections: EVERYONE, ...DATABASE });
  const { at, rules } = await folderWith(config);
  await writeFile(at("rules.yaml"), stringify({ parent: 1, collections: OWN }));
  expect(await rules("push", at("rules.yaml"), "-m", "x")).toMatchObject({
    code: 0,
    out: expect.stringMatching(/rule set 2 is in force\n {2}\S+: in force after \d+ ms$/),
  });
  expect(service.readiness()).toMatchObject({ rulesGeneration: 2 });
  // A view can be pushed, and cannot be followed.
  await client.db(name).createCollection("view", { viewOn: "items", pipeline: [] });
  await writeFile(at("rules.yaml"), stringify({ parent: 2, collections: { view: { rules: [] } } }));
  expect(await rules("push", at("rules.yaml"), "-m", "x")).toMatchObject({
    code: 1,
    out: expect.stringContaining("rule set 3 is in force"),
    err: expect.stringMatching(/keeps rule set 2, and cannot apply it \(version \S+\): [\s\S]*is a view/),
  });
});

test("of two admins who edit at the same time one wins, and the other has to pull", async () => {
  const { at, rules, client, name } = await withoutNodes();
  await pushRules(client, name, EVERYONE);
  const names = ["a", "b", "c", "d"];
  for (const each of names)
    await writeFile(
      at(`${each}.yaml`),
      stringify({ parent: 1, collections: { items: { rules: [{ name: each }] } } }),
    );
  const outcomes = await Promise.all(names.map((each) => rules("push", at(`${each}.yaml`), "-m", each)));
  expect(outcomes.map(({ code }) => code).sort()).toEqual([0, 1, 1, 1]);
  for (const { code, err } of outcomes)
    if (code === 1) expect(err).toMatch(/another rule set came into force just now|came into force since/);
  expect((await rules("log")).out.split("\n")).toHaveLength(2);
});

test.each([
  [[], /say what to do/],
  [["pusch"], /there is no rules "pusch"/],
  [["push"], /needs FILE/],
  [["push", "a.yaml"], /-m is needed/],
  [["push", "a.yaml", "-m", " "], /-m is needed/],
  [["push", "a.yaml", "b.yaml", "-m", "x"], /does not take "b.yaml"/],
  [["push", "a.yaml", "-m", "x", "--wait", "30"], /--wait takes a duration/],
  [["push", "a.yaml", "-m", "x", "--author", ""], /--author takes a name/],
  [["log", "-m", "x"], /rules log has no --message/],
  [["log", "--limit", "0"], /--limit takes a number/],
  [["revert"], /needs N/],
  [["revert", "last"], /takes a number, not "last"/],
  [["diff"], /needs A/],
])("the command line %j is not understood", async (args, text) => {
  expect(await runCommand(["rules", ...args])).toMatchObject({ code: 2, err: expect.stringMatching(text) });
});

test("says that nothing was ever pushed, and that a file or a configuration is missing", async () => {
  const { at, rules } = await withoutNodes();
  expect(await rules("log")).toMatchObject({ code: 0, out: expect.stringContaining("tidewire rules push") });
  expect(await rules("pull", at("x.yaml"))).toMatchObject({
    code: 1,
    err: expect.stringContaining("no rule set is in force"),
  });
  expect(await rules("diff", "1")).toMatchObject({
    code: 1,
    err: expect.stringContaining("there is no rule set 1"),
  });
  expect(await rules("push", at("missing.yaml"), "-m", "x")).toMatchObject({
    code: 1,
    err: expect.stringContaining("no such file"),
  });
  expect(await runCommand(["rules", "log", "--config", at("missing.yaml")])).toMatchObject({ code: 1 });
});
