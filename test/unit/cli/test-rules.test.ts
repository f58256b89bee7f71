// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { runCommand } from "../../support/command.ts";

/** Its secret is nowhere set, and its key file does not exist: rules are tested without either. */
const CONFIG = `
mongodb: { database: shop, uri: "\${MONGODB_URI}" }
server: { tls: { cert: nowhere.pem, key: nowhere.pem } }
auth: { jwt: { algorithms: [HS256], secret: "\${NOT_SET}" }, anonymous: true }
collections:
  orders:
    rules:
      - { name: staff, when: { "%%user.roles": { $in: [admin] } } }
      - { name: customer, when: { "%%user.sub": { $exists: true } }, filter: { customerId: "%%user.sub" }, fields: { exclude: [margin] } }
  news:
    rules:
      - { name: public, anonymous: true, filter: { from: { $lte: "%%now" } } }
  top:
    rules:
      - { name: few, anonymous: true, allow: { sort: [from], maxLimit: 5 } }
  counts:
    rules:
      - { name: numbers, filter: { customerId: "%%user.sub" }, fields: { exclude: [margin] }, allow: { documents: false } }
  messages:
    lookups:
      rooms: { collection: members, filter: { userId: "%%user.sub", banned: { $ne: true } }, value: roomId }
    rules:
      - { name: member, filter: { roomId: { $in: "%%lookup.rooms" } } }
`;

async function run(files: Readonly<Record<string, string>>, ...argv: string[]) {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-rules-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  for (const [name, text] of Object.entries({ "t.yaml": CONFIG, ...files })) {
    await writeFile(join(folder, name), text);
  }
  const path = (word: string) => (word.endsWith(".yaml") ? join(folder, word) : word);
  const result = await runIn("-c", join(folder, "t.yaml"), ...argv.map(path));
  const short = (text: string) => text.replaceAll(`${folder}/`, "");
  return { code: result.code, out: short(result.out), err: short(result.err) };
}

const runIn = (...argv: string[]) =>
  runCommand(["test-rules", ...argv], { now: () => Date.parse("2026-03-01T00:00:00Z") });

/** One test of a file, with the lines that every test needs. */
const oneTest = (rest: string, who = "as: { sub: ada }", collection = "orders") =>
  `tests:\n  - name: it holds\n    ${who}\n    collection: ${collection}\n    ${rest}\n`;

test("the rules of the example configuration do what its tests say, and each rule is tested", async () => {
  const { code, out, err } = await runIn("-c", join(ROOT, "config/tidewire.yaml"));
  expect({ code, err }).toEqual({ code: 0, err: "" });
  expect(out).toMatch(/^tests: 8 passed \(.*config\/tidewire\.test\.yaml\)$/);
});

test("names the branches of $or that the tests of all files together do not reach", async () => {
  const rules = `
collections:
  orders:
    rules:
      - name: own
        when: { $or: [{ "%%user.role": staff }, { "%%user.sub": { $exists: true } }] }
        filter: { $or: [{ owner: "%%user.sub" }, { public: true }] }
`;
  const config = CONFIG.slice(0, CONFIG.indexOf("collections:")) + rules.trimStart();
  const seen = (document: string) => oneTest(`documents: [{ visible: ${document} }]`);
  const one = await run({ "t.yaml": config, "t.test.yaml": seen("{ _id: 1, owner: ada }") });
  expect(one).toMatchObject({ code: 0 });
  expect(one.out).toBe(`branches of $or that no test reaches:
  orders: own, when: {"%%user.role":"staff"}
  orders: own, filter: {"public":true}
tests: 1 passed (t.test.yaml)`);
  const two = await run({
    "t.yaml": config,
    "t.test.yaml": seen("{ _id: 1, owner: ada }"),
    "t.more.test.yaml": oneTest(
      "documents: [{ visible: { _id: 1, public: true } }]",
      "as: { role: staff, sub: b }",
    ),
  });
  expect(two.out).toBe("tests: 2 passed (t.more.test.yaml, t.test.yaml)");
});

test("the example in the command's help is a file of tests that can be run", async () => {
  const { out } = await runIn("--help");
  const example = out.slice(out.indexOf("  tests:\n"), out.indexOf("Exit codes:")).replace(", … }", " }");
  const { err, code } = await run({ "help.test.yaml": example.replaceAll("shown:", "# shown:") });
  expect({ err, code }).toEqual({ err: "", code: 0 });
});

test("the tests in docs/rules.md hold for the rules there, and fail as shown there", async () => {
  const page = await readFile(join(ROOT, "docs/rules.md"), "utf8");
  const block = (start: string) => page.split("```").find((part) => part.startsWith(start))!;
  const config = { "t.yaml": block("yaml\nmongodb:").slice(4) };
  const tests = block("yaml\n# config/shop.test.yaml").slice("yaml\n".length);
  expect(await run({ ...config, "t.test.yaml": tests })).toMatchObject({ code: 0, err: "" });
  const wrong = tests.replace("hidden: { _id: 3", "visible: { _id: 3");
  const { out } = await run({ ...config, "t.test.yaml": wrong });
  const shown = block("text\nconfig/shop.test.yaml").slice("text\nconfig/shop".length).trimEnd();
  expect(out.split("\n\n")[0]).toBe(`t${shown}`);
});

test("a failure reports its location, the rule that applied, the deciding predicate, and the expected and actual results", async () => {
  const tests = `tests:
  - name: customers see their own orders
    as: { sub: ada }
    collection: orders
    rule: staff
    documents:
      - visible: { _id: 1, customerId: ada, total: 5 }
        shown: { customerId: ada, _id: 1, total: 5 }
      - visible: { _id: 2, customerId: ben }
      - hidden:
          _id: 3
          customerId: ada
`;
  const { code, out, err } = await run({ "t.test.yaml": tests });
  expect({ code, err }).toEqual({ code: 1, err: "" });
  const about = `  user      {"sub":"ada"} on orders
  rules       staff: when {"%%user.roles":{"$in":["admin"]}} does not hold
            → customer: when {"%%user.sub":{"$exists":true}} holds`;
  expect(out).toBe(`t.test.yaml:5:5: customers see their own orders
${about}
  expected  rule staff
  found     rule customer

t.test.yaml:9:9: customers see their own orders
${about}
  document  {"_id":2,"customerId":"ben"}
  expected  visible
  found     hidden, as {"customerId":"ada"} does not hold

t.test.yaml:10:9: customers see their own orders
${about}
  document  {"_id":3,"customerId":"ada"}
  expected  hidden
  found     visible, as {"customerId":"ada"} holds

rules that no test reaches: orders: staff, news: public, top: few, counts: numbers, messages: member
tests: 1 failed, 0 passed (t.test.yaml)`);
});

test("reports every path at which the shown document differs", async () => {
  const tests = oneTest(`documents:
      - visible: { _id: 1, customerId: ada, margin: 4, notes: { a: [1, 2] }, at: { $date: "2026-01-01T00:00:00Z" } }
        shown: { _id: 1, customerId: ada, margin: 4, notes: { a: [1, 3] } }`);
  const { code, out } = await run({ "t.test.yaml": tests });
  expect(code).toBe(1);
  expect(out).toContain(`
  expected  shown as {"_id":1,"customerId":"ada","margin":4,"notes":{"a":[1,3]}}
  found     shown as {"_id":1,"customerId":"ada","notes":{"a":[1,2]},"at":{"$date":"2026-01-01T00:00:00Z"}}
            margin: expected 4, not shown
            notes.a.1: expected 3, found 2
            at: shown, not expected: {"$date":"2026-01-01T00:00:00Z"}
`);
});

test("reports the position of a path that must not be shown, in lists too", async () => {
  const document = "visible: { _id: 1, margin: 4, customerId: ada, items: [{ price: 1 }, { cost: 2 }] }";
  const hides = (paths: string) =>
    run({ "t.test.yaml": oneTest(`documents: [{ ${document}, without: ${paths} }]`) });
  expect((await hides("[margin]")).code).toBe(0);
  const { code, out } = await hides("[margin, items.cost]");
  expect(code).toBe(1);
  expect(out).toContain("expected  items.cost is not shown");
  expect(out).not.toContain("margin is not shown");
});

test.each([
  ["a user whom no rule serves", "as: {}", "orders", "expect: forbidden", "documents: [{ hidden: {} }]"],
  [
    "a filter on a hidden field",
    "as: { sub: a }",
    "orders",
    "filter: { margin: 1 }\n    expect: forbidden",
    "filter: { margin: 1 }\n    expect: allowed",
  ],
  [
    "a limit over the rule's",
    "anonymous: true",
    "top",
    "sort: [[from, 1]]\n    limit: 6\n    expect: forbidden",
    "sort: [[from, 1]]\n    limit: 5\n    expect: forbidden",
  ],
  [
    "a claim that is missing, and its rule",
    "as: {}",
    "messages",
    "rule: member\n    given: { members: [] }\n    expect: forbidden",
    "rule: member\n    given: { members: [] }\n    documents: [{ hidden: {} }]",
  ],
])("%s is forbidden, and a test that says otherwise fails", async (_name, who, collection, good, bad) => {
  const right = await run({ "t.test.yaml": oneTest(good, who, collection) });
  expect(right).toMatchObject({ code: 0, err: "" });
  const wrong = await run({ "t.test.yaml": oneTest(bad, who, collection) });
  expect(wrong.code).toBe(1);
  expect(wrong.out).toMatch(/expected {2}(allowed|forbidden)\n {2}found {5}(forbidden|allowed), as /);
});

test("a filter that no client may send is not forbidden but wrong", async () => {
  const { code, out } = await run({ "t.test.yaml": oneTest("filter: { $where: x }\n    expect: forbidden") });
  expect(code).toBe(1);
  expect(out).toMatch(/expected {2}forbidden\n {2}found {5}bad-filter, as .*\$where/);
});

test("the client's own filter and fields narrow what is seen", async () => {
  const tests = oneTest(`filter: { status: open }
    fields: [status]
    documents:
      - visible: { _id: 1, customerId: ada, status: open }
        shown: { _id: 1, status: open }
      - hidden: { _id: 2, customerId: ada, status: shipped }`);
  expect(await run({ "t.test.yaml": tests })).toMatchObject({ code: 0 });
});

test("%%now is the time of the run, or what the file or the test says", async () => {
  const news = (at: string) => `documents: [{ ${at}: { _id: 1, from: { $date: "2026-02-01T00:00:00Z" } } }]`;
  const outcome = async (text: string) => (await run({ "t.test.yaml": text })).code;
  const atRun = (at: string) => oneTest(news(at), "anonymous: true", "news");
  expect(await outcome(atRun("visible"))).toBe(0);
  expect(await outcome(`now: 2026-01-01T00:00:00Z\n${atRun("hidden")}`)).toBe(0);
  const own = oneTest(`now: 2026-02-02T00:00:00+01:00\n    ${news("visible")}`, "anonymous: true", "news");
  expect(await outcome(`now: 2026-01-01T00:00:00Z\n${own}`)).toBe(0);
});

test("lookups read the documents that are given, by their own filter", async () => {
  const documents = "documents: [{ visible: { _id: 1, roomId: tea } }, { hidden: { _id: 2, roomId: rum } }]";
  const tests = `given:
  members:
    - { userId: ada, roomId: [tea] }
    - { userId: ada, roomId: rum, banned: true }
    - { userId: ben, roomId: rum }
${oneTest(documents, "as: { sub: ada }", "messages")}`;
  expect(await run({ "t.test.yaml": tests })).toMatchObject({ code: 0, err: "" });
  const ownGiven = (given: string) =>
    run({ "t.test.yaml": tests.replace(documents, `given: { ${given} }\n    ${documents}`) });
  expect((await ownGiven("shop.members: []")).code).toBe(1);
  const { code, out } = await ownGiven("members: []");
  expect(code).toBe(1);
  expect(out).toContain('document  {"_id":1,"roomId":"tea"}\n  expected  visible\n  found     hidden');
});

test("a lookup without anything given is no empty set but a failure", async () => {
  const { code, out } = await run({
    "t.test.yaml": oneTest("documents: [{ hidden: { _id: 1 } }]", "as: { sub: ada }", "messages"),
  });
  expect(code).toBe(1);
  expect(out).toContain("expected  documents of members under given, as a lookup reads them ([] for none)");
});

test("if anonymous users may not connect, they see nothing, whatever the rules say", async () => {
  const closed = { "t.yaml": CONFIG.replace("anonymous: true }\ncoll", "anonymous: false }\ncoll") };
  const seen = oneTest("documents: [{ visible: { from: 1 } }]", "anonymous: true", "news");
  const { code, out } = await run({ ...closed, "t.test.yaml": seen });
  expect(code).toBe(1);
  expect(out).toContain("found     forbidden, as auth.anonymous is off");
  const forbidden = oneTest("expect: forbidden", "anonymous: true", "news");
  expect((await run({ ...closed, "t.test.yaml": forbidden })).code).toBe(0);
  expect((await run({ "t.test.yaml": forbidden })).code).toBe(1);
});

/** The content of the file, the position of the mistake, and the text of the error. */
const BROKEN: readonly (readonly [string, string, string, RegExp])[] = [
  ["a misspelt key", oneTest("expct: forbidden"), "5:5", /unknown key "expct"\. Did you mean "expect"\?/],
  [
    "a misspelt key of a document",
    oneTest("documents: [{ visble: {} }]"),
    "5:19",
    /Did you mean "visible"\?/,
  ],
  ["a misspelt outcome", oneTest("expect: forbiden"), "5:13", /did you mean forbidden/],
  [
    "a misspelt collection",
    oneTest("expect: forbidden", "as: {}", "ordres"),
    "4:17",
    /Did you mean "orders"\?/,
  ],
  ["a misspelt rule", oneTest("rule: custmer"), "5:11", /no rule of orders\. Did you mean "customer"\?/],
  [
    "a misspelt collection of a lookup",
    oneTest("given: { membrs: [] }\n    rule: member", "as: {}", "messages"),
    "5:14",
    /Did you mean "members"\?/,
  ],
  [
    "documents for a lookup that is not",
    oneTest("given: { x: [] }\n    rule: staff"),
    "5:14",
    /no lookup reads/,
  ],
  [
    "claims beside anonymous",
    oneTest("anonymous: true\n    rule: staff"),
    "2:5",
    /either as .* or anonymous/,
  ],
  ["nobody", oneTest("rule: staff", ""), "2:5", /either as .* or anonymous/],
  ["nothing to expect", oneTest(""), "2:5", /something to expect/],
  [
    "documents of what is forbidden",
    oneTest("expect: forbidden\n    documents: [{ hidden: {} }]"),
    "6:16",
    /two tests/,
  ],
  [
    "a document both visible and hidden",
    oneTest("documents: [{ hidden: {}, visible: {} }]"),
    "5:17",
    /either visible or hidden/,
  ],
  [
    "a hidden document that is shown",
    oneTest("documents: [{ hidden: {}, shown: {} }]"),
    "5:38",
    /only beside visible/,
  ],
  [
    "a path that is missing anyway",
    oneTest("documents: [{ visible: { a: 1 }, without: [b] }]"),
    "5:48",
    /a path that the visible document has/,
  ],
  ["no Extended JSON", oneTest("documents: [{ visible: { _id: { $oid: x } } }]"), "5:28", /Extended JSON/],
  ["a time without its zone", `now: 2026-01-01T00:00:00\n${oneTest("rule: staff")}`, "1:6", /with its zone/],
  [
    "a sort that is no pair",
    oneTest("rule: staff\n    sort: [from]"),
    "6:12",
    /a pair of a path and 1 or -1/,
  ],
  [
    "a number beyond 2^53",
    oneTest("documents: [{ visible: { a: 9007199254740993 } }]"),
    "5:33",
    /would lose digits/,
  ],
  ["an empty file", "# nothing\n", "1:1", /the file is empty/],
  ["no tests", "tests: []\n", "1:8", /a list that is not empty/],
];

test.each(BROKEN)("%s is refused, with its place", async (_name, text, place, message) => {
  const { code, err } = await run({ "t.test.yaml": text });
  expect(code).toBe(1);
  const lines = err.split("\n").filter((line) => line.startsWith(`t.test.yaml:${place}:`));
  expect(lines.join("\n"), err).toMatch(message);
});

test("reports all mistakes at once, in the rules and in every file; runs the valid tests if the rules are valid", async () => {
  const files = {
    "a.test.yaml": oneTest("expct: forbidden", "as: {}", "ordres"),
    "b.test.yaml": oneTest("expect: forbidden"),
  };
  const good = await run(files);
  expect(good.code).toBe(1);
  expect(good.err.split("\n").map((line) => line.split(": ")[0])).toEqual(
    expect.arrayContaining(["a.test.yaml:4:17", "a.test.yaml:5:5"]),
  );
  expect(good.out).toContain("b.test.yaml:5:5: it holds");
  expect(good.out).toMatch(/tests: 1 failed, 0 passed, not all could be run/);
  const bad = await run(
    { ...files, "t.yaml": CONFIG.replace("$lte", "$lt3") },
    "a.test.yaml",
    "none.test.yaml",
  );
  expect(bad.code).toBe(1);
  expect(bad.err).toMatch(/^t\.yaml:12:.*\$lt3/m);
  expect(bad.err).toMatch(/^a\.test\.yaml:5:5: .*Did you mean "expect"/m);
  expect(bad.err).toMatch(/^none\.test\.yaml:1:1: the file cannot be read \(ENOENT\)/m);
});

test("without names, the tests beside the configuration are run, but not those of another configuration", async () => {
  const failing = oneTest("expect: forbidden");
  const { code, out } = await run({
    "other.yaml": CONFIG,
    "other.test.yaml": failing,
    "t.test.yaml": oneTest("rule: customer"),
    "orders.test.json": JSON.stringify({
      tests: [{ name: "x", as: { sub: "a" }, collection: "orders", rule: "customer" }],
    }),
  });
  expect(code).toBe(0);
  expect(out).toContain("tests: 2 passed (orders.test.json, t.test.yaml)");
});

test("a run without any test is no success", async () => {
  const { code, err } = await run({});
  expect(code).toBe(1);
  expect(err).toMatch(/there are no tests beside it .*tidewire help test-rules/);
});

test("--json says the same for machines", async () => {
  const { out, code } = await run(
    { "t.test.yaml": oneTest("documents: [{ hidden: { customerId: ada } }]") },
    "--json",
  );
  expect(code).toBe(1);
  expect(JSON.parse(out)).toEqual({
    files: ["t.test.yaml"],
    tests: 1,
    failed: 1,
    failures: [
      {
        file: "t.test.yaml",
        line: 5,
        column: 19,
        path: "tests[0].documents[0].hidden",
        test: "it holds",
        claims: { sub: "ada" },
        collection: "orders",
        expected: "hidden",
        found: "visible",
        because: '{"customerId":"ada"} holds',
        rules: expect.arrayContaining([expect.objectContaining({ name: "customer", applies: true })]),
        document: { customerId: "ada" },
        differences: [],
      },
    ],
    problems: [],
    untested: [
      ["orders", "staff"],
      ["news", "public"],
      ["top", "few"],
      ["counts", "numbers"],
      ["messages", "member"],
    ].map(([collection, rule]) => ({ collection, rule, part: null, branch: null })),
  });
  const broken = await run({ "t.test.yaml": oneTest("expct: forbidden") }, "--json");
  expect(broken.code).toBe(1);
  expect(JSON.parse(broken.out)).toMatchObject({ failures: [], problems: [{ line: 2 }, { line: 5 }] });
});

test.each([[["--frobnicate"]], [["--config"]]])("%j is a wrong command line: exit code 2", async (argv) => {
  const { code, out, err } = await runIn(...argv);
  expect({ code, out }).toEqual({ code: 2, out: "" });
  expect(err).toContain("See: tidewire help test-rules");
});

test.each([
  ["aggregate: { by: status }\n    expect: allowed", "orders", 0],
  ["aggregate: { by: margin }\n    expect: forbidden", "orders", 0],
  ["aggregate: { by: margin }\n    expect: allowed", "orders", 1],
  ["expect: forbidden", "counts", 0],
  [
    "aggregate: {}\n    documents: [{ visible: { _id: 1, customerId: ada } }, { hidden: { _id: 2 } }]",
    "counts",
    0,
  ],
])("judges counts and groups as the service does: %s of %s", async (rest, collection, code) => {
  expect(
    await run({ "a.test.yaml": oneTest(rest, "as: { sub: ada }", collection) }, "a.test.yaml"),
  ).toMatchObject({ code });
});
