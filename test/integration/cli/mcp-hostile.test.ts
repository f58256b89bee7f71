/** `tidewire mcp` and an agent that is confused or hostile: what it can read, how much it gets, and how the process ends. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { stringify } from "yaml";
import { ROOT } from "../../support/build.ts";
import { endWithUs, exited } from "../../support/guard.ts";
import { MCP_MAIN, mcpFolder, startMcp } from "../../support/mcp.ts";
import { testDatabase } from "../../support/mongod.ts";
import { signToken, startTestService } from "../../support/service.ts";

const CONFIG = {
  mongodb: { uri: "${MONGODB_URI}", database: "${DATABASE}" },
  auth: { jwt: { algorithms: ["HS256"], secret: "${JWT_SECRET}" } },
  server: { admin: { token: "${ADMIN_SECRET}" } },
  collections: {
    orders: { database: "${DATABASE}", rules: [{ name: "own", filter: { owner: "%%user.sub" } }] },
  },
};

const draftWith = (value: string) =>
  stringify({
    mongodb: { database: value },
    collections: { orders: { rules: [{ name: "all", filter: { v: { $lte: value } } }] } },
  });

const EMPTY_TESTS = stringify({
  tests: [{ name: "t", as: { sub: "a" }, collection: "orders", documents: [{ hidden: { _id: 1, v: "~" } }] }],
});

test("reads no file outside of its folder, hidden in it, or of another kind", async () => {
  const { call, folder } = await startMcp({
    config: CONFIG,
    files: { ".env": "A=secret", "notes.txt": "x", "draft.yaml": draftWith("a") },
  });
  const outside = await mcpFolder({}, { "outside.yaml": draftWith("outside") });
  await symlink(join(outside, "outside.yaml"), join(folder, "link.yaml"));
  await symlink(outside, join(folder, "linked"));
  await symlink(join(folder, ".env"), join(folder, "env.yaml"));
  await mkdir(join(folder, "folder.yaml"));
  await mkdir(join(folder, ".hidden"));
  await writeFile(join(folder, ".hidden", "x.yaml"), draftWith("hidden"));
  await writeFile(join(folder, "large.yaml"), "a".repeat(1_048_577));
  const asked = { collection: "orders", claims: { sub: "ada" } };
  for (const [configFile, text] of [
    [join(outside, "outside.yaml"), /is not below/],
    ["../../../../etc/hosts.yaml", /is not below/],
    ["/etc/passwd", /only files that end in/],
    ["link.yaml", /is not below/],
    ["linked/outside.yaml", /is not below/],
    ["env.yaml", /is not below/],
    [".hidden/x.yaml", /is not below/],
    [".env", /only files that end in/],
    ["notes.txt", /only files that end in/],
    ["draft.yaml\0.txt", /only files that end in/],
    ["draft\0.yaml", /cannot be read/],
    ["missing.yaml", /cannot be read/],
    ["folder.yaml", /cannot be read/],
    ["large.yaml", /larger than 1MiB/],
    [`${"a/".repeat(400)}x.yaml`, /cannot be read/],
  ] as const) {
    for (const input of [{ configFile }, { testFiles: [configFile] }]) {
      const tool = "configFile" in input ? "explain" : "test-rules";
      const answer = await call(
        tool,
        tool === "explain" ? { ...asked, ...input } : { ...input, configText: draftWith("a") },
      );
      expect([configFile, answer.isError, answer.text]).toEqual([
        configFile,
        true,
        expect.stringMatching(text),
      ]);
    }
  }
  expect(await call("explain", { ...asked, configFile: "draft.yaml" })).toMatchObject({ isError: false });
});

test("shows no secret in any answer or log line, whatever a draft asks for", async () => {
  const { uri } = await testDatabase();
  const secrets = {
    MONGODB_URI: uri.replace("mongodb://", "mongodb://reader:pa55word-of-the-uri@"),
    JWT_SECRET: "jwt-secret-of-more-than-thirty-two-bytes",
    ADMIN_SECRET: "admin-secret-of-more-than-thirty-two-bytes",
    TIDEWIRE_TOKEN: await signToken({ sub: "ada" }),
    TIDEWIRE_ADMIN_TOKEN: "another-admin-secret-of-more-than-thirty-two",
    UNRELATED_KEY: "a-key-of-another-program",
  };
  const literal = "whsec_written-into-the-file";
  const { call, written } = await startMcp({
    config: {
      ...CONFIG,
      sinks: {
        hook: {
          collection: "orders",
          as: {},
          to: { webhook: { url: "https://a:url-password@x.example", secret: literal } },
        },
      },
    },
    args: ["--admin", "http://127.0.0.1:1", "--url", "ws://u:ws-password@127.0.0.1:1"],
    env: { ...secrets, DATABASE: "shop" },
  });
  await call("check");
  await call("check", { connect: true });
  await call("tail", { collection: "orders", seconds: 0.2 });
  await call("tail", { collection: "orders", seconds: 0.2, token: "a-token-of-the-agent.a.b" });
  const asked = { collection: "orders", claims: { sub: "ada" } };
  for (const name of Object.keys(secrets)) {
    const configText = draftWith(`\${${name}}`);
    const answer = await call("explain", { ...asked, configText, document: { _id: 1, v: "b" } });
    expect(answer.text).toContain(`\${${name}}`);
    await call("check", { configText });
    await call("plan", { configText });
    await call("test-rules", {
      configText,
      testsText: stringify({
        tests: [
          {
            name: "t",
            as: { sub: `\${${name}}` },
            collection: "orders",
            documents: [{ hidden: { _id: 1, v: `\${${name}}` } }],
          },
        ],
      }),
    });
  }
  // The claims of the agent itself may have a secret by chance.
  await call("explain", { ...asked, claims: { sub: secrets.JWT_SECRET, [secrets.ADMIN_SECRET]: literal } });
  const all = written.join("\n");
  expect(written.length).toBeGreaterThan(25);
  for (const secret of [
    ...Object.values(secrets),
    literal,
    "pa55word-of-the-uri",
    "url-password",
    "ws-password",
    "a-token-of-the-agent",
  ])
    expect(all).not.toContain(secret);
  // A variable of the rules themselves is no secret, and drafts may use it.
  const { data } = await call("explain", { ...asked, configText: draftWith("${DATABASE}") });
  expect(data.query.namespace).toBe("shop.orders");
});

test("gives a configuration that was edited after the start no secret, and no connection, until a restart", async () => {
  const { uri } = await testDatabase();
  const foreign = createServer();
  let connections = 0;
  foreign.on("connection", (socket) => {
    connections += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => void foreign.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void foreign.close());
  const { port } = foreign.address() as AddressInfo; // it listens on a port
  const secrets = {
    JWT_SECRET: "jwt-secret-of-more-than-thirty-two-bytes",
    STRIPE_KEY: "sk_live_of-a-program",
  };
  const env = {
    MONGODB_URI: uri,
    ADMIN_SECRET: "0123456789abcdef0123456789abcdef",
    DATABASE: "shop",
    ...secrets,
  };
  const { call, folder, written } = await startMcp({ config: CONFIG, env });
  // Its answer shows that the server has read the file.
  expect((await call("check")).data).toMatchObject({ valid: true, problems: [] });
  const asked = { collection: "orders", claims: { sub: "ada" }, document: { _id: 1, v: "b" } };
  const file = join(folder, "tidewire.yaml");
  const edit = (value: string) =>
    writeFile(
      file,
      stringify({
        ...CONFIG,
        mongodb: { ...CONFIG.mongodb, uri: `mongodb://x:${value}@127.0.0.1:${port}/?directConnection=true` },
        collections: { orders: { rules: [{ name: "all", filter: { v: { $lte: value } } }] } },
      }),
    );

  for (const name of Object.keys(secrets)) {
    await edit(`\${${name}}`);
    const explained = await call("explain", asked);
    expect(explained.text).toContain(`"$lte":"\${${name}}"`);
    expect(explained.data.index).toBe("not checked: a draft opens no connection");
    expect(explained.data.notes).toEqual([expect.stringContaining("has changed since this server started")]);
    expect(explained.text).toContain("has changed since this server started");
    const checked = await call("check");
    expect(checked.data.notes[0]).toContain("Until the server is restarted");
    expect(await call("check", { connect: true })).toMatchObject({
      isError: true,
      text: expect.stringContaining("has changed since this server started"),
    });
    // The edit does not make a variable known to drafts either.
    const draft = await call("explain", { ...asked, configText: draftWith(`\${${name}}`) });
    expect(draft.text).toContain(`"$lte":"\${${name}}"`);
    const planned = await call("plan");
    expect(planned.data).toMatchObject({ collections: [{ collection: "orders" }], live: null });
    expect(planned.data.notes).toHaveLength(1);
    expect((await call("test-rules", { testsText: EMPTY_TESTS })).data.notes).toHaveLength(1);
  }
  const all = written.join("\n");
  for (const secret of Object.values(secrets)) expect(all).not.toContain(secret);
  expect(connections).toBe(0);

  await writeFile(file, stringify(CONFIG));
  expect((await call("explain", asked)).data).toMatchObject({
    notes: [],
    index: expect.stringMatching(/^(?:none|not needed)/),
    query: { namespace: "shop.orders" },
  });
  expect((await call("check", { connect: true })).isError).toBe(false);
});

test("treats a configuration that did not exist at the start as a draft", async () => {
  const { call, folder } = await startMcp({
    config: CONFIG,
    args: ["--config", "later.yaml"],
    env: { STRIPE_KEY: "sk_live_of-a-program" },
  });
  expect((await call("check")).text).toContain("there is no such file");
  await writeFile(join(folder, "later.yaml"), draftWith("${STRIPE_KEY}"));
  const { text } = await call("explain", { collection: "orders", claims: { sub: "ada" } });
  expect(text).toContain('"$lte":"${STRIPE_KEY}"');
  expect(text).toContain("could not be read, when this server started");
  const planned = await call("plan", { configText: draftWith("a") });
  expect(planned).toMatchObject({ isError: true, text: expect.stringContaining("Restart the server") });
});

test("bounds every answer, and refuses arguments that are too large or too deep", async () => {
  const { service, db, file } = await startTestService({
    collections: { orders: { rules: [{ name: "all" }] } },
  });
  const orders = db.collection<{ _id: number; text: string }>("orders");
  const large = { _id: 0, text: "x".repeat(10_000) };
  const others = Array.from({ length: 600 }, (_, index) => ({ _id: index + 1, text: "y".repeat(100) }));
  await orders.insertMany([large, ...others]);
  const mcp = await startMcp({
    config: file,
    args: ["--url", `ws://127.0.0.1:${service.address.port}`, "--max-output", "8KiB"],
    env: { TIDEWIRE_TOKEN: await signToken({ sub: "ada" }) },
  });
  const all = await mcp.call("tail", { collection: "orders", limit: 500, seconds: 50 });
  expect(all.data).toMatchObject({ ended: "limit", truncated: true });
  expect(JSON.stringify(all.data).length).toBeLessThan(8_500);
  expect(all.text.length).toBeLessThan(8_500);
  expect(all.text).toMatch(/… \d+ more characters\. Ask for less/);
  const one = await mcp.call("tail", { collection: "orders", limit: 1, filter: { _id: 0 } });
  expect(one.data.changes).toEqual([
    { change: "snapshot", document: { _id: 0 }, omitted: expect.stringMatching(/ask for fewer fields/) },
  ]);
  expect((await mcp.call("tail", { collection: "orders", limit: 501 })).isError).toBe(true);
  expect((await mcp.call("tail", { collection: "orders", seconds: 51 })).isError).toBe(true);
  expect((await mcp.call("tail", { collection: "orders", write: true })).isError).toBe(true);

  const wide = { $or: Array.from({ length: 2_000 }, (_, index) => ({ a: index })) };
  for (const tool of ["tail", "explain"]) {
    const refused = await mcp.call(tool, { collection: "orders", filter: wide });
    const outcome = tool === "tail" ? refused.data.ended : refused.data.outcome;
    expect([tool, outcome]).toEqual([tool, tool === "tail" ? "refused" : "bad-filter"]);
  }
  let deep: Record<string, unknown> = {};
  for (let level = 0; level < 200; level += 1) deep = { a: deep };
  for (const tool of ["tail", "explain"]) {
    const refused = await mcp.call(tool, { collection: "orders", filter: deep });
    expect(refused).toMatchObject({ isError: true, text: expect.stringContaining("deeper than 100 levels") });
  }
  const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ncollections: [*c,*c,*c,*c,*c,*c,*c,*c]\n`;
  expect((await mcp.call("check", { configText: bomb })).data.valid).toBe(false);
  const many = Array.from({ length: 9 }, () =>
    mcp.call("tail", { collection: "orders", snapshot: false, seconds: 2 }),
  );
  const refusals = (await Promise.all(many)).filter(({ text }) => text.startsWith("8 calls are in progress"));
  expect(refusals).toHaveLength(1);
  expect((await mcp.call("check")).data.valid).toBe(true);
});

/** The server without a client of the SDK, so that a test can write anything. */
async function spawnMcp(node: readonly string[] = []) {
  const cwd = await mcpFolder(CONFIG);
  const child = spawn(process.execPath, [...node, MCP_MAIN, "mcp", "--config", "tidewire.yaml"], {
    cwd,
    env: { PATH: process.env["PATH"] ?? "" },
    stdio: ["pipe", "pipe", "pipe"],
  });
  endWithUs(child);
  onTestFinished(() => void child.kill("SIGKILL"));
  let out = "";
  let err = "";
  child.stdout.on("data", (data: Buffer) => {
    out += String(data);
  });
  child.stderr.on("data", (data: Buffer) => {
    err += String(data);
  });
  child.stdin.on("error", () => {}); // it may have ended already
  const answered = async (id: number) => {
    while (!out.includes(`"id":${id}`)) await once(child.stdout, "data");
  };
  return { child, answered, out: () => out, err: () => err };
}

const INITIALIZE = {
  jsonrpc: "2.0",
  id: 1,
  method: "initialize",
  params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "raw", version: "1" } },
};
const line = (message: object) => `${JSON.stringify(message)}\n`;

test("survives messages that are none, writes only messages, and ends with its standard input", async () => {
  const { child, answered, out, err } = await spawnMcp();
  child.stdin.write("this is no JSON\n{}\n[]\nnull\n");
  child.stdin.write(line(INITIALIZE));
  await answered(1);
  const deep = `${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}`;
  const call = { name: "explain", arguments: { collection: "orders", filter: "DEEP" } };
  child.stdin.write(
    line({ jsonrpc: "2.0", id: 9, method: "tools/call", params: call }).replace('"DEEP"', deep),
  );
  child.stdin.write(line({ jsonrpc: "2.0", id: 2, method: "no/such/method" }));
  child.stdin.write(line({ jsonrpc: "2.0", id: 3, method: "tools/call", params: { name: "drop" } }));
  child.stdin.write(
    line({ jsonrpc: "2.0", id: 4, method: "tools/call", params: { name: "check", arguments: {} } }),
  );
  for (const id of [2, 3, 4]) await answered(id);
  const messages = out()
    .trimEnd()
    .split("\n")
    .map((text) => JSON.parse(text));
  expect(messages.find(({ id }) => id === 2)).toMatchObject({ error: { code: -32601 } });
  expect(messages.find(({ id }) => id === 4)).toMatchObject({
    result: { structuredContent: { valid: false } },
  });
  expect(err()).toContain("tidewire mcp: protocol error");
  child.stdin.write('{"token":"a-secret-token-of-a-user" nonsense}\n{"token":x-secret-token}\n');
  child.stdin.write(`${line({ jsonrpc: "2.0", id: 77, result: { token: "another-secret-token" } })}`);
  child.stdin.write(line({ jsonrpc: "2.0", id: 6, method: "ping" }));
  await answered(6);
  expect(err()).toContain("protocol error: a message is none of the protocol");
  expect(err()).not.toContain("token");
  child.stdin.write(
    line({
      jsonrpc: "2.0",
      id: 5,
      method: "tools/call",
      params: { name: "tail", arguments: { collection: "x", seconds: 50 } },
    }),
  );
  const endedAtMs = Date.now();
  child.stdin.end();
  expect(await exited(child)).toEqual({ code: 0, signal: null });
  // It does not wait for the call, which would take 50 s.
  expect(Date.now() - endedAtMs).toBeLessThan(40_000);
});

test.each(["SIGTERM", "SIGINT"] as const)("ends with code 0 at %s", async (signal) => {
  const { child, answered } = await spawnMcp();
  child.stdin.write(line(INITIALIZE));
  await answered(1);
  child.kill(signal);
  expect(await exited(child)).toEqual({ code: 0, signal: null });
});

test("ends when a message is longer than any draft", async () => {
  const { child, err } = await spawnMcp();
  child.stdin.write("x".repeat(5_000_000));
  expect((await exited(child)).code).toBe(0);
  expect(err()).toContain("protocol error");
});

test("names the package that is missing", async () => {
  const loader = pathToFileURL(join(ROOT, "test/support/no-mcp-sdk.mjs")).href;
  const { child, err, out } = await spawnMcp(["--import", loader]);
  expect((await exited(child)).code).toBe(1);
  expect(err()).toContain("npm install @modelcontextprotocol/server@2");
  expect(out()).toBe("");
});
