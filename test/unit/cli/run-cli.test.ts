// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { JwtOptions } from "../../../src/auth/options.ts";
import { createVerifier } from "../../../src/auth/verify-token.ts";
import { runCommand } from "../../support/command.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const nowMs = 1_700_000_000_000;

const GOOD = `
mongodb: { database: shop }
auth: { jwt: { algorithms: [HS256], secret: "\${SECRET}", issuer: dev, audience: [tidewire, x] } }
collections:
  orders:
    rules:
      - { name: staff, when: { "%%user.roles": { $in: [admin] } } }
      - { name: customer, filter: { customerId: "%%user.sub" }, fields: { exclude: [margin] } }
`;

async function fileOf(text: string, more: Record<string, string> = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-cli-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  for (const [name, content] of Object.entries(more)) await writeFile(join(folder, name), content);
  await writeFile(join(folder, "t.yaml"), text);
  return join(folder, "t.yaml");
}

const run = (...argv: string[]) => runCommand(argv, { env: { SECRET }, now: () => nowMs });

test.each([[], ["--help"], ["-h"], ["help"]])("%j teaches the commands, with examples", async (...argv) => {
  const { code, out } = await run(...argv);
  expect(code).toBe(0);
  for (const word of ["check", "explain", "token", "Examples:", "Exit codes:"]) expect(out).toContain(word);
});

test.each(["check", "explain", "plan", "token"])(
  "help %s shows its options and examples, and so does --help",
  async (name) => {
    const { code, out } = await run("help", name);
    expect(code).toBe(0);
    expect(out).toMatch(/^Usage: tidewire/);
    expect(out).toContain("Examples:");
    expect((await run(name, "--help")).out).toBe(out);
  },
);

test("explain --sub is short for the claims of a token that hold the sub alone", async () => {
  const file = await fileOf(GOOD);
  const explain = (...user: string[]) => run("explain", "--config", file, "--collection", "orders", ...user);
  const { code, out } = await explain("--sub", "u1");
  expect(code).toBe(0);
  expect(out).toContain("customer");
  expect(out).toBe((await explain("--user", '{"sub":"u1"}')).out);
});

test("explain --aggregate says which rows there are, and what is refused", async () => {
  const file = await fileOf(GOOD);
  const explain = (aggregate: string) =>
    run("explain", "--config", file, "--collection", "orders", "--sub", "u1", "--aggregate", aggregate);
  const { code, out } = await explain(
    '{"by":["status","at"],"values":{"n":{"count":true},"t":{"sum":"total"}}}',
  );
  expect(code).toBe(0);
  expect(out).toContain("rows: one for each status and at, of n = count(), t = sum(total), and no documents");
  expect((await explain('{"by":5}')).out).toMatch(/^refused \(bad-request\)/);
});

test("check says that nobody has access to a collection without a rule", async () => {
  const file = await fileOf(GOOD.replace("collections:", "collections:\n  carts: { rules: [] }"));
  const { code, out } = await run("check", "--config", file);
  expect(code).toBe(0);
  expect(out).toMatch(/^ {2}carts \(shop\.carts\): nobody has access \(rules: \[\]\)$/m);
  expect(out).toMatch(/^ {2}orders .*staff/m);
});

test.each(["express", "fastify", "next"])(
  "init --backend %s names every file that it wrote, and aligns the notes beside the next commands",
  async (backend) => {
    const folder = join(await mkdtemp(join(tmpdir(), "tidewire-init-")), "app");
    onTestFinished(() => rm(join(folder, ".."), { recursive: true }));
    const { code, out } = await run("init", folder, "--offline", "--backend", backend);
    expect(code).toBe(0);
    const [, written = ""] = /^Written: (.*)$/m.exec(out) ?? [];
    const files = await readdir(folder, { recursive: true, withFileTypes: true });
    const paths = files
      .filter((file) => file.isFile())
      .map((file) => relative(folder, join(file.parentPath, file.name)));
    expect(written.split(", ").sort()).toEqual(paths.sort());
    const columns = out
      .split("\n")
      .flatMap((line) => (/^ {2}.* {2}# /.test(line) ? [line.indexOf("  # ")] : []));
    expect(columns).toHaveLength(2);
    expect(new Set(columns).size).toBe(1);
    expect(out).toContain(`in another terminal, in ${folder}; then open http://127.0.0.1:3000/`);
    for (const path of paths) {
      const text = await readFile(join(folder, path), "utf8");
      expect(text, path).toMatch(/[^\n]\n$/);
      expect(text, path).not.toMatch(/[ \t]\n|\t|\n\n\n/);
      for (const line of text.split("\n")) expect(line.length, `${path}: ${line}`).toBeLessThanOrEqual(130);
    }
  },
);

test.each([
  [["frobnicate"], /there is no command "frobnicate"\. Commands: .*check/],
  [["help", "frobnicate"], /there is no command/],
  [["check", "--frobnicate"], /Unknown option.*\n.*tidewire help check/],
  [["check", "extra"], /Unexpected argument/],
  [["explain"], /--collection is needed/],
  [["explain", "--collection", "o", "--user", "u1"], /--user is not JSON; put it in single quotes/],
  [["explain", "--collection", "o", "--user", "[1]"], /takes a JSON object/],
  [["explain", "--collection", "o", "--user", "{}", "--sub", "u1"], /--user or --sub, not both/],
  [["explain", "--collection", "o", "--document", '{"_id":{"$oid":"x"}}'], /not Extended JSON/],
  [["plan"], /--config is needed/],
  [
    ["plan", "--config", "new.yaml", "--admin", "localhost:8481"],
    /--admin takes the URL of an admin listener/,
  ],
  [["token", "--sub", "u1", "--expires", "60"], /--expires takes a duration/],
  [["token", "--claim", "x"], /--claim takes KEY=JSON/],
])("%j is a wrong command line: exit code 2, and where to read on", async (argv, text) => {
  const { code, err, out } = await run(...argv);
  expect({ code, out }).toEqual({ code: 2, out: "" });
  expect(err).toMatch(text);
});

test("check prints ok and the rules of each collection", async () => {
  const path = await fileOf(GOOD);
  const { code, out } = await run("check", "--config", path);
  expect(code).toBe(0);
  expect(out).toContain(`ok: ${path}`);
  expect(out).toContain("orders (shop.orders): staff [conditional, all documents], then customer [any user]");
});

test("check prints every problem with its location, and exits with 1", async () => {
  const path = await fileOf(GOOD.replace("shop", "5").replace("$in", "$inn"));
  const { code, err } = await run("check", "-c", path);
  expect(code).toBe(1);
  expect(err.split("\n").map((line) => line.slice(path.length).split(" ")[0])).toEqual([":2:22:", ":7:56:"]);
  const json = await run("check", "-c", path, "--json");
  expect(json.code).toBe(1);
  expect(JSON.parse(json.out)).toMatchObject([{ line: 2, path: "mongodb.database" }, { line: 7 }]);
});

test("check names a configuration that is not there", async () => {
  const { code, err } = await run("check", "--config", "/nowhere/t.yaml");
  expect(code).toBe(1);
  expect(err).toMatch(/there is no such file\. tidewire init writes one/);
});

test("check --schema prints the JSON Schema", async () => {
  expect(JSON.parse((await run("check", "--schema")).out)).toMatchObject({ title: "Tidewire configuration" });
});

test("token makes a token that the same configuration takes", async () => {
  const path = await fileOf(GOOD);
  const { code, out } = await run(
    "token",
    "--sub",
    "u1",
    "--claim",
    'roles=["admin"]',
    "--claim",
    "name=Ada",
    "--expires",
    "90s",
    "-c",
    path,
  );
  expect(code).toBe(0);
  const options = JwtOptions.parse({
    algorithms: ["HS256"],
    secret: SECRET,
    issuer: "dev",
    audience: "tidewire",
  });
  const identity = await createVerifier(options).verify(out, nowMs);
  expect(identity).toMatchObject({
    sub: "u1",
    expiresAtMs: nowMs + 90_000,
    claims: { roles: ["admin"], name: "Ada" },
  });
});

test("token cannot sign for a public key, and explains why", async () => {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = publicKey.export({ type: "spki", format: "pem" }).toString();
  const path = await fileOf(GOOD.replace('[HS256], secret: "${SECRET}"', "[ES256], publicKey: key.pem"), {
    "key.pem": key,
  });
  const { code, out, err } = await run("token", "--sub", "u1", "-c", path);
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(err).toMatch(/Only the holder of the private key can sign/);
});

test("explain prints rules, filter, fields and the document's verdict", async () => {
  const path = await fileOf(GOOD);
  const { code, out } = await run(
    "explain",
    "-c",
    path,
    "--user",
    '{"sub":"u1"}',
    "--collection",
    "orders",
    "--filter",
    '{"status":"open"}',
    "--document",
    '{"_id":1,"customerId":"u2","status":"open"}',
  );
  expect(code).toBe(0);
  expect(out.split("\n")).toEqual([
    'allowed: the user {"sub":"u1"} on orders',
    "rules:",
    '    staff: when {"%%user.roles":{"$in":["admin"]}} does not hold',
    "  → customer: it has no when, so it is for everybody",
    'filter: {"customerId":"u1","status":"open"}',
    "fields: all but margin",
    "index for the snapshot: not checked: the embedded mongod runs only with the service",
    'document: hidden, as {"customerId":"u1"} does not hold',
  ]);
});

test("explain --json says the same for machines, and of a refusal why", async () => {
  const path = await fileOf(GOOD);
  const allowed = await run(
    "explain",
    "-c",
    path,
    "--json",
    "--user",
    '{"sub":"u1"}',
    "--collection",
    "orders",
  );
  expect(JSON.parse(allowed.out)).toMatchObject({
    outcome: "allowed",
    query: {
      rule: "customer",
      namespace: "shop.orders",
      filter: { customerId: { $eq: "u1" } },
      fields: "all but margin",
    },
  });
  const refused = await run("explain", "-c", path, "--user", "{}", "--collection", "orders");
  expect(refused.code).toBe(0);
  expect(refused.out).toContain('because rule customer applies, but the claim "sub" is missing');
});

test("no output of any command shows the secret", async () => {
  const path = await fileOf(GOOD);
  for (const argv of [
    ["check"],
    ["check", "--json"],
    ["explain", "--collection", "orders"],
    ["explain", "--json", "--collection", "orders"],
  ]) {
    const { out, err } = await run(...argv, "-c", path);
    expect(out + err).not.toContain(SECRET);
  }
});

test.each(["--version", "-v", "version"])("%s prints the version of the package", async (flag) => {
  const { version } = JSON.parse(await readFile(new URL("../../../package.json", import.meta.url), "utf8"));
  expect(await run(flag)).toEqual({ code: 0, out: `tidewire ${version}`, err: "" });
});

test.each([
  [["chekc"], /Did you mean check\?/],
  [["help", "strat"], /Did you mean start\?/],
  [["explain", "--colection", "orders"], /Unknown option '--colection'.*Did you mean --collection\?/],
])("%j names the word that was most likely meant", async (argv, expected) => {
  const { code, err } = await run(...argv);
  expect([code, err]).toEqual([2, expect.stringMatching(expected)]);
});

test("explain needs none of the secrets, and fails for a collection that the configuration does not have", async () => {
  const path = await fileOf(GOOD.replace("${SECRET}", "${UNSET}"));
  const args = ["explain", "-c", path, "--user", '{"sub":"u1"}', "--collection"];
  const { code, out } = await run(...args, "orders");
  expect([code, out]).toEqual([
    0,
    expect.stringContaining("index for the snapshot: not checked: the configuration"),
  ]);
  const unknown = await run(...args, "ordrs");
  expect(unknown).toMatchObject({ code: 1, out: "" });
  expect(unknown.err).toMatch(/no collection "ordrs"\. Did you mean orders\? Collections: orders/);
});

test("check reports every bad operator of a filter at once, and the one that was meant", async () => {
  const filter =
    '{ a: { $gtt: 1, $inn: [2] }, b: { $where: "x" }, $orr: [], $and: [{ c: { $lte: 1, $sizes: 2 } }], d: "a %%user.sub" }';
  const path = await fileOf(GOOD.replace('{ customerId: "%%user.sub" }', filter));
  const { code, err } = await run("check", "-c", path);
  expect(code).toBe(1);
  for (const text of [
    /"\$gtt" is not supported \(did you mean \$gt\?\)/,
    /"\$inn" is not supported \(did you mean \$in\?\)/,
    /"\$where" is not supported \(at b/,
    /"\$orr" is not supported at the top of a filter \(did you mean \$or\?\)/,
    /"\$sizes" is not supported \(did you mean \$size\?\)/,
    /filter\.d: a string with %%… in it is not a claim/,
  ])
    expect(err).toMatch(text);
});
