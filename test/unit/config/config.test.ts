// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ConfigError, formatProblem, loadConfig, parseConfig } from "../../../src/config/config.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const GOOD = `
mongodb: { database: shop }
auth: { jwt: { algorithms: [HS256], secret: "\${SECRET}" } }
collections: { orders: { rules: [{ name: all }] } }
`;
const env = { SECRET };

function parsed(text: string, variables: NodeJS.ProcessEnv = env) {
  const result = parseConfig(text, "config/t.yaml", variables);
  if (!result.ok) throw new ConfigError(result.problems);
  return result.config;
}

function problemsOf(text: string, variables: NodeJS.ProcessEnv = env) {
  const result = parseConfig(text, "config/t.yaml", variables);
  return result.ok ? [] : result.problems;
}

async function folder(files: Record<string, string>): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "tidewire-config-"));
  onTestFinished(() => rm(path, { recursive: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text);
  return path;
}

test("fills in the documented defaults", () => {
  const { limits, server, auth, history, mongodb } = parsed(GOOD);
  expect(limits).toMatchObject({
    messageBytes: 65_536,
    subscriptions: 100,
    requestsPerSecond: 50,
    requestBurst: 100,
    outboxBytes: 1_048_576,
    stallTimeoutMs: 60_000,
    snapshotDocuments: 10_000,
    snapshotBatchBytes: 262_144,
    windowSize: 1_000,
    connectionsPerUser: 50,
    connectionsPerAddress: 200,
    connectRate: 500,
    connectRatePerAddress: 20,
    connectBurstPerAddress: 60,
    fenceTimeoutMs: 30_000,
    filterDepth: 5,
    filterPredicates: 50,
    filterValues: 1_000,
    projectionNodes: 1_000,
    sortPaths: 8,
  });
  expect(server).toMatchObject({ heartbeatMs: 25_000, origins: [], trustedProxies: [], host: "127.0.0.1" });
  expect(auth).toMatchObject({ anonymous: false, helloTimeoutMs: 5_000, expiryNoticeMs: 60_000 });
  expect(auth.jwt).toMatchObject([{ requireExpiry: true, clockToleranceMs: 5_000 }]);
  expect(history).toEqual({ windowMs: 300_000, bytes: 64 * 1_048_576, cursorStepMs: 1_000 });
  expect(mongodb).toMatchObject({ uri: "embedded", images: "auto", stateDatabase: "tidewire" });
});

test("reads durations and sizes with every unit", () => {
  const config = parsed(`${GOOD}
server: { heartbeat: 1500ms, drainTimeout: 1h, maxConnectionAge: 1d }
limits: { stallTimeout: 2m, messageBytes: 2048B, outboxBytes: 2MiB, snapshotCacheBytes: 1GiB }`);
  expect(config.server).toMatchObject({
    heartbeatMs: 1_500,
    drainTimeoutMs: 3_600_000,
    maxConnectionAgeMs: 86_400_000,
  });
  expect(config.limits).toMatchObject({
    stallTimeoutMs: 120_000,
    messageBytes: 2_048,
    outboxBytes: 2_097_152,
    snapshotCacheBytes: 1_073_741_824,
  });
});

test("takes JSON as well", () => {
  const config = parsed(
    JSON.stringify({
      mongodb: { database: "shop" },
      auth: { anonymous: true },
      collections: { orders: { rules: [{ name: "all", anonymous: true }] } },
    }),
  );
  expect(config.collections["orders"]?.rules[0]).toMatchObject({ name: "all", anonymous: true });
});

test("is frozen, all the way down", () => {
  const config = parsed(GOOD);
  expect(Object.isFrozen(config)).toBe(true);
  expect(Object.isFrozen(config.limits)).toBe(true);
  expect(Object.isFrozen(config.collections["orders"]?.rules[0]?.allow)).toBe(true);
});

test("a key that looks like a duration is left alone where the file's author chooses the names", () => {
  const config = parsed(GOOD.replace("orders: {", "itemsMs: {"));
  expect(Object.keys(config.collections)).toEqual(["itemsMs"]);
});

test("environment variables fill texts, with defaults, and are not looked into again", () => {
  const rule = (text: string) => GOOD.replace("name: all", () => `name: all, filter: { a: ${text} }`);
  const filterOf = (text: string, variables: NodeJS.ProcessEnv = {}) =>
    parsed(rule(text), { SECRET, ...variables }).collections["orders"]?.rules[0]?.filter?.["a"];
  expect(filterOf("'<${X}>'", { X: "${Y}" })).toBe("<${Y}>");
  expect(filterOf("'${X:-none}'")).toBe("none");
  expect(filterOf("'${X:-none}'", { X: "" })).toBe("none");
  expect(filterOf("'${X}'", { X: "" })).toBe("");
  expect(filterOf("'${X:-}'")).toBe("");
  expect(filterOf("'$${X}'")).toBe("${X}");
  expect(filterOf("'$X and $'")).toBe("$X and $");
});

test("an environment variable cannot add structure to the file", () => {
  const value = 'x", anonymous: true, y: "';
  expect(parsed(GOOD.replace("shop", "'${DB}'"), { SECRET, DB: "shop" }).mongodb.database).toBe("shop");
  const injected = parsed(GOOD.replace("name: all", "name: '${NAME}'"), { SECRET, NAME: value });
  expect(injected.collections["orders"]?.rules[0]).toMatchObject({ name: value, anonymous: false });
});

test("reports every problem at once, in the file's order", () => {
  const text = `
mongodb: { database: 5, urii: x }
server: { port: -1, heartbeat: 5 }
auth: { jwt: { algorithms: [HS256], secret: short } }
collections:
  orders: { rules: [{ name: a, filter: { x: { $foo: 1 } } }, { name: a }] }
`;
  expect(problemsOf(text).map(({ line, path }) => `${line} ${path}`)).toEqual([
    "2 mongodb.database",
    "2 mongodb.urii",
    "3 server.port",
    "3 server.heartbeat",
    "4 auth.jwt.secret",
    '6 collections.orders.rules[0].filter.x["$foo"]',
    "6 collections.orders.rules[1].name",
  ]);
});

test("a problem begins with a location that editors and terminals can open", () => {
  const [problem] = problemsOf(GOOD.replace("shop", "5"));
  expect(problem && formatProblem(problem)).toMatch(
    /^config\/t\.yaml:2:22: mongodb\.database: found 5; allowed: /,
  );
});

test("keys named like members of objects are only unknown keys", () => {
  for (const key of ["__proto__", "constructor", "toString"]) {
    expect(problemsOf(`${GOOD}\n${key}: { polluted: true }\n`).map(({ path }) => path)).toEqual([key]);
  }
  expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
});

test("a condition that would be lost on the way is refused, not dropped", () => {
  const rule = "[{ name: a, filter: { __proto__: x, a: 1 } }]";
  const [problem, ...more] = problemsOf(GOOD.replace("[{ name: all }]", rule));
  expect(problem).toMatchObject({ path: "collections.orders.rules[0].filter" });
  expect(problem?.message).toContain("no rule can speak of a field __proto__");
  expect(more).toEqual([]);
});

test("an alias may repeat a part, but not grow without bound", () => {
  const shared = parsed(
    `${GOOD.replace("[{ name: all }]", "[{ name: a, filter: &f { x: 1 } }, { name: b, filter: *f }]")}`,
  );
  expect(shared.collections["orders"]?.rules[1]?.filter).toEqual({ x: 1 });
  let bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (let i = 1; i < 9; i++)
    bomb += `a${i}: &a${i} [${Array(10)
      .fill(`*a${i - 1}`)
      .join(", ")}]\n`;
  expect(problemsOf(bomb).some(({ message }) => message.includes("no configuration needs"))).toBe(true);
});

test("paths start at the file's folder, but the default data lies in the working directory", () => {
  const config = parsed(`
mongodb: { database: shop, binary: bin/mongod }
server: { tls: { cert: tls/cert.pem, key: /abs/key.pem } }
auth: { jwt: { algorithms: [ES256], publicKey: ../jwt.pem } }
collections: { orders: { rules: [{ name: all }] } }`);
  expect(config.mongodb.dataDir).toBe(resolve(".tidewire/mongodb"));
  expect(config.mongodb.binary).toBe(resolve("config/bin/mongod"));
  expect(config.server.tls).toEqual({ cert: resolve("config/tls/cert.pem"), key: "/abs/key.pem" });
  expect(config.auth.jwt?.[0]?.publicKey).toBe(resolve("jwt.pem"));
});

test("loading reports missing files, at the lines that name them", async () => {
  const path = await folder({
    "t.yaml": `
mongodb: { database: shop }
server: { tls: { cert: cert.pem, key: key.pem } }
auth: { jwt: { algorithms: [ES256], publicKey: jwt.pem } }
collections: { orders: { rules: [{ name: all }] } }`,
    "cert.pem": "",
  });
  const error = await loadConfig(join(path, "t.yaml"), {}).catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(ConfigError);
  expect(
    error instanceof ConfigError && error.problems.map((problem) => `${problem.line} ${problem.path}`),
  ).toEqual(["3 server.tls.key", "4 auth.jwt.publicKey"]);
});

test("loading a file that is not there names it and the flag", async () => {
  const error = await loadConfig("/nowhere/t.yaml", {}).catch((cause: unknown) => cause);
  expect(String(error)).toMatch(/\/nowhere\/t\.yaml:1:1: there is no such file.*--config/);
});

test("an empty list of rules is valid: nobody may read the collection", () => {
  const text = `mongodb: { database: shop }\nauth: { anonymous: true }\ncollections: { orders: { rules: [] } }`;
  expect(parseConfig(text, "t.yaml", {})).toMatchObject({
    ok: true,
    config: { collections: { orders: { rules: [] } } },
  });
});

test("admins may have the keys of clients with an audience that clients do not have", () => {
  const jwt = (audience: string) => ({ algorithms: ["HS256"], secret: "s".repeat(32), audience });
  const problems = (ofClients: string) => {
    const admin = { jwt: { ...jwt("admins"), when: { view: { "%%user.group": "ops" } } } };
    const file = {
      mongodb: { database: "shop" },
      auth: { jwt: jwt(ofClients) },
      server: { admin },
      collections: { orders: { rules: [{ name: "all" }] } },
    };
    const parsed = parseConfig(JSON.stringify(file), "test.yaml", {});
    return parsed.ok ? [] : parsed.problems.map(({ path }) => path);
  };
  expect(problems("clients")).toEqual([]);
  expect(problems("admins")).toEqual(["server.admin.jwt"]);
});
