import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeJwt, decodeProtectedHeader } from "jose";
import { expect, onTestFinished, test } from "vitest";
import { readCredentials, TokenSource } from "../../../../src/cli/load/credentials.ts";
import { readOptions } from "../../../../src/cli/load/options.ts";
import { lowLimits } from "../../../../src/cli/load/probe.ts";
import { compileScenario, readScenario } from "../../../../src/cli/load/scenario.ts";
import { checkOpenFiles, databaseOf, hostsOf, otherMembers } from "../../../../src/cli/load/target.ts";
import { isLoopback } from "../../../../src/protocol/is-loopback.ts";
import { runCommand } from "../../../support/command.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const SCENARIO = '{"subscriptions":[{"collection":"orders","filter":{"customer":"{{user}}"}}]}';

async function fileOf(text: string, name = "file"): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-load-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, name), text);
  return join(folder, name);
}

const load = (...args: string[]) => runCommand(["load", ...args]);

test.each<[string, string[], RegExp]>([
  ["no scenario", [], /--scenario is needed: a file .*\n[\s\S]*subscriptions:/],
  ["a missing file", ["--scenario", "nowhere.yaml"], /nowhere\.yaml cannot be read \(ENOENT\)/],
  ["a scenario without subscriptions", ["--scenario", "{}"], /- subscriptions: .*[\s\S]*looks like this/],
  ["a key that is unknown", ["--scenario", '{"subscriptions":[{"colection":"a"}]}'], /colection/],
  ["a scenario that is not YAML", ["--scenario", '{"a":'], /--scenario is neither YAML nor JSON/],
  [
    "an unknown placeholder",
    ["--scenario", '{"subscriptions":[{"collection":"a","filter":{"x":"{{usr}}"}}]}'],
    /subscriptions\[0\]\.filter\.x: in \{\{usr\}\}, usr is unknown here\. Did you mean user\?/,
  ],
  [
    "a document with the field of the mark",
    ["--scenario", '{"subscriptions":[{"collection":"a"}],"document":{"load":1}}'],
    /load and _id are set by the writers/,
  ],
  ["a URL that is none", ["--scenario", SCENARIO, "--url", "8480"], /--url takes the service's URL/],
  [
    "a URL with a password",
    ["--scenario", SCENARIO, "--url", "ws://ann:geheim@127.0.0.1:8480"],
    /--url has a name or password.*--secret-file/,
  ],
  [
    "a URL with a query",
    ["--scenario", SCENARIO, "--url", "ws://127.0.0.1:8480/?token=geheim"],
    /--url takes the service's URL.*without a query/,
  ],
  [
    "a URL that cannot be read and has a password",
    ["--scenario", SCENARIO, "--url", "ws://ann:geheim@127.0.0.1:port"],
    /--url takes the service's URL/,
  ],
  ["a URL of another kind", ["--scenario", SCENARIO, "--url", "mongodb://127.0.0.1"], /--url takes/],
  [
    "another machine",
    ["--scenario", SCENARIO, "--url", "wss://live.example.com"],
    /live\.example\.com is not this machine.*--i-own-this-target/,
  ],
  [
    "a MongoDB on another machine",
    ["--scenario", SCENARIO, "--mongodb", "mongodb://127.0.0.1,db.example.com/shop"],
    /db\.example\.com is not this machine/,
  ],
  ["a URI that is none", ["--scenario", SCENARIO, "--mongodb", "localhost"], /--mongodb takes a URI/],
  [
    "a MongoDB behind a proxy on another machine",
    ["--scenario", SCENARIO, "--mongodb", "mongodb://127.0.0.1/shop?proxyHost=gate.example.com"],
    /gate\.example\.com is not this machine/,
  ],
  [
    "a MongoDB without a database",
    ["--scenario", SCENARIO, "--mongodb", "mongodb://127.0.0.1"],
    /--database is needed/,
  ],
  ["a database without a MongoDB", ["--scenario", SCENARIO, "--database", "shop"], /belongs to --mongodb/],
  [
    "more connections than the limit",
    ["--scenario", SCENARIO, "--connections", "20001"],
    /--connections 20001 is more than --max-connections \(20000\)/,
  ],
  ["no connections", ["--scenario", SCENARIO, "--connections", "0"], /whole number from 1 to/],
  ["a ramp of nothing", ["--scenario", SCENARIO, "--ramp", "0"], /--ramp takes a number per second/],
  ["a duration without a unit", ["--scenario", SCENARIO, "--duration", "30"], /such as 30s/],
  ["a stay that is too short", ["--scenario", SCENARIO, "--stay", "1s"], /at least 5000 ms/],
  ["a share without a unit", ["--scenario", SCENARIO, "--leavers", "10"], /such as 10%/],
  ["a size of nothing", ["--scenario", SCENARIO, "--max-bytes", "0B"], /--max-bytes takes a size/],
  [
    "more writers than documents",
    [
      "--scenario",
      `${SCENARIO.slice(0, -1)},"documents":2}`,
      "--mongodb",
      "mongodb://127.0.0.1/shop",
      "--writers",
      "3",
    ],
    /--writers 3 is more than documents \(2\)/,
  ],
  [
    "an option that is unknown",
    ["--scenario", SCENARIO, "--conections", "5"],
    /Did you mean --connections\?/,
  ],
  [
    "two kinds of tokens",
    ["--scenario", SCENARIO, "--tokens", "a", "--key-file", "b"],
    /one of --secret-file, --key-file and --tokens/,
  ],
  ["a secret that cannot be read", ["--scenario", SCENARIO, "--secret-file", "nowhere"], /\(ENOENT\)/],
])("%s is refused with what to do, before anything connects", async (_title, args, message) => {
  const { code, err } = await load(...args);
  expect(err).toMatch(message);
  expect(err).not.toContain("geheim");
  expect(code).toBe(2);
});

test("a result file that cannot be written is reported before the run", async () => {
  const { code, err } = await load("--scenario", SCENARIO, "--json", "nowhere/result.json");
  expect(err).toMatch(/--json nowhere\/result\.json cannot be written \(ENOENT\)/);
  expect(code).toBe(1);
});

test("the target may be another machine if the user says that it is theirs", async () => {
  const options = ["--scenario", SCENARIO, "--url", "wss://live.example.com/prefix/v1/ws"];
  const { url } = await readOptions([...options, "--i-own-this-target"], {});
  expect(url).toBe("wss://live.example.com/prefix");
});

test.each<[string, boolean]>([
  ["127.0.0.1", true],
  ["127.8.9.1", true],
  ["[::1]", true],
  ["localhost", true],
  ["10.0.0.1", false],
  ["127.0.0.1.example.com", false],
  ["localhost.example.com", false],
  ["0.0.0.0", false],
])("%s is of this machine: %s", (host, is) => expect(isLoopback(host)).toBe(is));

test("the hosts and the database of a MongoDB URI are found", () => {
  expect(hostsOf("mongodb://a:27017,[::1]:2/x")).toEqual(["a", "::1"]);
  expect(hostsOf("mongodb://a/x?proxyHost=p&proxyPort=1080")).toEqual(["a", "p"]);
  expect(hostsOf("mongodb+srv://cluster.example.com/x")).toEqual(["cluster.example.com"]);
  expect(databaseOf("mongodb://u:p@a,b/my%20shop?w=1")).toBe("my shop");
  expect(databaseOf("mongodb://a/?w=1")).toBeUndefined();
});

test("members of a replica set on other machines are found among those that MongoDB reports", () => {
  const members = ["127.0.0.1:27017", "[::1]:27018", "localhost:27019", "/tmp/mongodb-27017.sock"];
  expect(otherMembers(members)).toEqual([]);
  expect(otherMembers([...members, "db1.example.com:27017", "10.0.0.5:27017"])).toEqual([
    "db1.example.com:27017",
    "10.0.0.5:27017",
  ]);
});

test("a limit of open files that is too low is reported with the command that raises it", () => {
  expect(() => checkOpenFiles(1_000, 1_100)).not.toThrow();
  expect(() => checkOpenFiles(1_000, 1_099)).toThrow(/may open 1099 files.*`ulimit -n 1100`/);
});

test("a user has claims and filters of its own, and a sub is a text", async () => {
  const scenario = compileScenario(
    await readScenario(
      '{"claims":{"sub":"{{i}}","tenant":"t{{i % 2}}"},"subscriptions":[{"collection":"a","filter":{"x":"{{user}}","n":"{{i}}"},"fields":["x"]},{"collection":"b"}],"document":{"d":"{{d}}","w":"w{{w}}"}}',
    ),
  );
  expect(scenario.user(3)).toEqual({
    claims: { sub: "3", tenant: "t1" },
    requests: [
      // Without the mark, nothing could be checked.
      { collection: "a", filter: { x: "3", n: 3 }, fields: ["x", "load"] },
      { collection: "b" },
    ],
  });
  expect(scenario.document(5, 1)).toEqual({ d: 5, w: "w1" });
  expect(scenario.collections).toEqual(["a", "b"]);
});

const FLAGS = {
  secretFile: undefined,
  keyFile: undefined,
  tokens: undefined,
  keyId: undefined,
  lifeMs: 60_000,
};

test("tokens are signed with a secret, from a file or from the variable that tidewire init writes", async () => {
  const secretFile = await fileOf(`${SECRET}\n`);
  const fromFile = await readCredentials({ ...FLAGS, secretFile }, {});
  expect(await readCredentials(FLAGS, { TIDEWIRE_JWT_SECRET: SECRET })).toEqual(fromFile);
  const token = (await new TokenSource(fromFile).of(4, { sub: "u4", roles: ["a"] })?.()) ?? "";
  expect(decodeProtectedHeader(token)).toEqual({ alg: "HS256", typ: "JWT" });
  const { iat = 0, exp = 0, ...claims } = decodeJwt(token);
  expect(claims).toEqual({ sub: "u4", roles: ["a"] });
  expect(exp - iat).toBe(60);
});

test.each<[string, () => { privateKey: { export(options: object): string | Buffer } }, string]>([
  ["RSA", () => generateKeyPairSync("rsa", { modulusLength: 2_048 }), "RS256"],
  ["P-256", () => generateKeyPairSync("ec", { namedCurve: "P-256" }), "ES256"],
  ["P-384", () => generateKeyPairSync("ec", { namedCurve: "P-384" }), "ES384"],
  ["Ed25519", () => generateKeyPairSync("ed25519"), "EdDSA"],
])("tokens are signed with a key of the kind %s", async (_kind, generate, alg) => {
  const pem = String(generate().privateKey.export({ type: "pkcs8", format: "pem" }));
  const credentials = await readCredentials({ ...FLAGS, keyFile: await fileOf(pem), keyId: "k1" }, {});
  const token = (await new TokenSource(credentials).of(0, { sub: "u" })?.()) ?? "";
  expect(decodeProtectedHeader(token)).toEqual({ alg, typ: "JWT", kid: "k1" });
});

test("tokens from a file are given to the users in turn", async () => {
  const credentials = await readCredentials({ ...FLAGS, tokens: await fileOf("a.b.c\n\nd.e.f\n") }, {});
  const source = new TokenSource(credentials);
  const tokens = await Promise.all([0, 1, 2].map((i) => source.of(i, {})?.()));
  expect(tokens).toEqual(["a.b.c", "d.e.f", "a.b.c"]);
});

test("without a secret, a key or tokens the users are anonymous", async () => {
  const credentials = await readCredentials(FLAGS, {});
  expect(new TokenSource(credentials).of(0, { sub: "u" })).toBeUndefined();
});

test.each<[string, "secretFile" | "keyFile" | "tokens", string, RegExp]>([
  ["a short secret", "secretFile", "short\n", /has fewer than 32 bytes/],
  ["an empty secret", "secretFile", "\n", /is empty/],
  ["a secret in place of a key", "keyFile", SECRET, /is not a private key in PEM.*--secret-file/],
  ["a file without tokens", "tokens", "\n", /has no token/],
  ["a line that is no token", "tokens", "a.b.c\nhello\n", /line 2 is not a token/],
])("%s is refused with what to do", async (_title, flag, text, message) => {
  await expect(readCredentials({ ...FLAGS, [flag]: await fileOf(text) }, {})).rejects.toThrow(message);
});

test.each<[string, Record<string, number>, string[]]>([
  [
    "limits that are high enough",
    { connections: 100, connectionsPerAddress: 100, connectRate: 20, connectRatePerAddress: 20 },
    [],
  ],
  ["limits that are unknown", {}, []],
  ["a limit of connections", { connections: 99 }, ["limits.connections"]],
  ["a limit of the address", { connectionsPerAddress: 99 }, ["limits.connectionsPerAddress"]],
  [
    "a rate",
    { connectRate: 19, connectRatePerAddress: 19 },
    ["limits.connectRate", "limits.connectRatePerAddress"],
  ],
  ["a rate that a burst makes up for", { connectRatePerAddress: 19, connectBurstPerAddress: 100 }, []],
])("before a run, %s are compared with it", (_title, limits, names) => {
  const notes = lowLimits(limits, { connections: 100, ramp: 20 });
  expect(notes.map((note) => /limits\.\w+/.exec(note)?.[0])).toEqual(names);
});
