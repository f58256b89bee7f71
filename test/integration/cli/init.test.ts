/** `tidewire init` against a database that exists, and everything that it wrote as a user would run it. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { transform } from "esbuild";
import { decodeJwt } from "jose";
import { ObjectId } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { createClient } from "../../../src/client/client.ts";
import { isBrowserMissing, openPage } from "../../support/browser.ts";
import { ROOT } from "../../support/build.ts";
import { runCommand } from "../../support/command.ts";
import { freePort, Mongod, testDatabase } from "../../support/mongod.ts";
import { MAIN, Running } from "../../support/running.ts";

const PATIENCE = { timeout: 60_000 };

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "tidewire-init-"));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

function init(...args: string[]) {
  return runCommand(["init", ...args]);
}

/** A database with a collection of each kind. */
async function shop() {
  const { client, db, name, uri } = await testDatabase();
  const orders = db.collection<{ _id: number; customerId: string; item: string }>("orders");
  await orders.insertMany([
    { _id: 1, customerId: "ada", item: "tea" },
    { _id: 2, customerId: "ben", item: "not for ada" },
  ]);
  await db.collection("yes").insertOne({ ownerId: new ObjectId() });
  await db.createCollection("view", { viewOn: "orders", pipeline: [] });
  await db.createCollection("temperatures", { timeseries: { timeField: "at" } });
  onTestFinished(async () => {
    await client.db(`${name}-state`).dropDatabase();
  });
  const url = new URL(uri);
  url.pathname = `/${name}`;
  return { orders, name, uri: url.href };
}

async function edit(file: string, change: (text: string) => string): Promise<void> {
  const before = await readFile(file, "utf8");
  const after = change(before);
  expect(after).not.toBe(before);
  await writeFile(file, after);
}

/** The packages that `npm install` would bring. */
async function install(path: string, packages: readonly string[]): Promise<void> {
  await mkdir(join(path, "node_modules"));
  for (const name of packages)
    await symlink(
      name === "tidewire" ? ROOT : join(ROOT, "node_modules", name),
      join(path, "node_modules", name),
    );
}

const run = (path: string, ...args: string[]) =>
  promisify(execFile)(process.execPath, [MAIN, ...args], { cwd: path, env: environment() });

/** Without the variables of this run, so that `.env` decides. */
function environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const { MONGODB_URI: _, TIDEWIRE_JWT_SECRET: __, NODE_ENV: ___, ...env } = process.env;
  return { ...env, ...more };
}

const uncommented = (config: string) =>
  config.replace(
    /( {2}orders:\n) {4}rules: \[\]\n(?: {4}# .*\n)?((?: {4}# .*\n){3})/,
    (_, key, lines: string) => key + lines.replaceAll("    # ", "    "),
  );

test.each(["express", "fastify"])(
  "writes a configuration and a %s backend that run, and whose page shows a live list once a rule is uncommented",
  async (backend) => {
    const { orders, name, uri } = await shop();
    const path = await folder();
    const made = await init(path, "--uri", uri, "--backend", backend);
    expect(made).toMatchObject({ code: 0, err: "" });
    await install(path, ["tidewire", backend, "jsonwebtoken"]);
    const config = join(path, "config", "tidewire.yaml");
    const [port, pagePort] = [await freePort(), await freePort()];
    const withPorts = (text: string) => text.replaceAll("8480", `${port}`).replaceAll("3000", `${pagePort}`);
    await edit(config, (text) =>
      withPorts(text).replace(
        "server:\n",
        `  stateDatabase: "${name}-state"\n\nserver:\n  admin: { port: 0 }\n`,
      ),
    );
    await edit(join(path, "public", "index.html"), withPorts);
    expect((await run(path, "check")).stdout).toContain("ok: config/tidewire.yaml");

    const service = new Running(process.execPath, [MAIN, "start"], path, environment());
    await service.line(/"listening"/);
    const args = ["--env-file=.env", "backend.mjs"];
    const server = new Running(process.execPath, args, path, environment({ PORT: `${pagePort}` }));
    await server.line(/^http:/);
    const tokenUrl = `http://127.0.0.1:${pagePort}/token`;
    const token = async () => (await fetch(tokenUrl)).text();
    expect(decodeJwt(await token())).toMatchObject({ sub: "ada" });

    const errors: unknown[] = [];
    const results: unknown[] = [];
    const client = createClient({ url: `http://127.0.0.1:${port}`, token, WebSocket });
    onTestFinished(() => client.close());
    const stop = client
      .collection("orders")
      .find()
      .subscribe({ error: (error) => errors.push(error) });
    // A service that has just started may answer `unavailable` before: the client asks again by itself.
    await expect.poll(() => errors.at(-1), PATIENCE).toMatchObject({ code: "forbidden" });
    stop();

    await edit(config, uncommented);
    await service.line(/the edited rules are in force/);
    client
      .collection("orders")
      .find()
      .subscribe({ data: (docs) => results.push(docs), error: (error) => results.push(error) });
    await expect.poll(() => results.at(-1), PATIENCE).toEqual([{ _id: 1, customerId: "ada", item: "tea" }]);
    const page = isBrowserMissing ? undefined : await openPage();
    await page?.goto(`http://127.0.0.1:${pagePort}/`);
    await page?.locator("li").filter({ hasText: "tea" }).waitFor();
    await orders.insertOne({ _id: 3, customerId: "ada", item: "milk" });
    await expect.poll(() => results.at(-1), PATIENCE).toHaveLength(2);
    await page?.locator("li").filter({ hasText: "milk" }).waitFor();
    expect(await page?.locator("li").filter({ hasText: "not for ada" }).count()).toBe(
      isBrowserMissing ? undefined : 0,
    );
    await page?.getByText("live", { exact: true }).waitFor();
    service.child.kill("SIGKILL");
    await page?.getByText(`Does the service run at http://127.0.0.1:${port} (npx tidewire start)?`).waitFor();
  },
);

test("the route of Next answers with a token of the user, and with 401 in production", async () => {
  const path = await folder();
  expect((await init(path, "--offline", "--backend", "next")).code).toBe(0);
  await install(path, ["jsonwebtoken"]);
  const source = await readFile(join(path, "app", "token", "route.ts"), "utf8");
  const { code } = await transform(source, { loader: "ts", format: "esm" });
  await writeFile(join(path, "route.mjs"), code);
  const ask =
    "const { GET } = await import('./route.mjs'); const r = GET(new Request('http://localhost/token')); console.log(r.status, await r.text())";
  const answer = (more: NodeJS.ProcessEnv) =>
    promisify(execFile)(process.execPath, ["--env-file=.env", "--input-type=module", "-e", ask], {
      cwd: path,
      env: environment(more),
    });
  const [status, token = ""] = (await answer({})).stdout.trim().split(" ");
  expect([status, decodeJwt(token).sub]).toEqual(["200", "ada"]);
  expect((await answer({ NODE_ENV: "production" })).stdout).toBe("401 not logged in\n");
});

test("the page of Next and its route keep to strict TypeScript", async () => {
  const path = await folder();
  await init(path, "--offline", "--backend", "next");
  await install(path, ["tidewire", "react", "@types"]);
  const stub =
    "declare module 'jsonwebtoken' { const jwt: { sign(claims: object, secret: string, options: object): string }; export default jwt; }";
  await writeFile(join(path, "stub.d.ts"), stub);
  const compilerOptions = {
    strict: true,
    noEmit: true,
    module: "ESNext",
    moduleResolution: "bundler",
    jsx: "react-jsx",
    target: "ES2022",
    lib: ["ES2022", "DOM"],
    types: ["node"],
    esModuleInterop: true,
  };
  await writeFile(
    join(path, "tsconfig.json"),
    JSON.stringify({ compilerOptions, include: ["app", "stub.d.ts"] }),
  );
  const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
  const { stdout } = await promisify(execFile)(process.execPath, [tsc, "-p", "."], { cwd: path }).catch(
    (error) => error,
  );
  expect(stdout).toBe("");
});

test("lists the collections without views, time series and system collections, and proposes the field of the owner", async () => {
  const { uri } = await shop();
  const path = await folder();
  const { out } = await init(path, "--uri", uri);
  const config = await readFile(join(path, "config", "tidewire.yaml"), "utf8");
  expect(config.match(/^ {2}[\w"]+:\n {4}rules: \[\]/gm)).toEqual([
    "  orders:\n    rules: []",
    '  "yes":\n    rules: []',
  ]);
  expect(config).toContain('filter: { customerId: "%%user.sub" }');
  expect(config).toContain('filter: { ownerId: "%%oid:user.sub" }');
  expect(out).toContain("change streams do not report them: temperatures (timeseries), view (view)");
});

test("keeps the secret to the user, and replaces a file only with --force", async () => {
  const path = await folder();
  await writeFile(join(path, ".env"), "OTHER=1\nTIDEWIRE_JWT_SECRET=mine-mine-mine-mine-mine-mine-mine\n");
  const refused = await init(path, "--offline");
  expect(refused).toMatchObject({ code: 1, out: "" });
  expect(refused.err).toMatch(/these files exist already: \.env\. Nothing was written.*--force/);
  expect(await readdir(path)).toEqual([".env"]);
  expect((await init(path, "--offline", "--force")).code).toBe(0);
  const env = await readFile(join(path, ".env"), "utf8");
  expect(env).toBe(
    "OTHER=1\nTIDEWIRE_JWT_SECRET=mine-mine-mine-mine-mine-mine-mine\nMONGODB_URI=embedded\nDEV_USER=ada\n",
  );
  expect((await stat(join(path, ".env"))).mode & 0o777).toBe(0o600);
  expect((await run(path, "check")).stdout).toContain("todos");
});

test("says that no server answers, within ten seconds and with a word while it waits, and writes nothing", async () => {
  const path = await folder();
  const { code, err } = await init(
    join(path, "new"),
    "--uri",
    `mongodb://127.0.0.1:${await freePort()}/shop`,
  );
  expect(code).toBe(1);
  expect(err).toMatch(/^-- connecting to MongoDB \(2 s\)\n/);
  expect(err).toMatch(/no MongoDB server answers within 10 s.*--offline/);
  expect(await readdir(path)).toEqual([]);
});

test("says so if the server is a standalone one, or if the URI leaves the database open", async () => {
  const mongod = await Mongod.start();
  onTestFinished(() => mongod.dispose());
  const uri = `mongodb://${mongod.host}`;
  const open = await init(await folder(), "--uri", uri);
  expect(open.err).toMatch(/the URI names no database; the deployment has none yet\. Add --database/);
  const { code, out } = await init(await folder(), "--uri", uri, "--database", "shop");
  expect(code).toBe(0);
  expect(out).toMatch(/standalone one.*replica set/);
  expect(out).toContain("the example collection todos");
});

test("asks for the URI at a terminal, and elsewhere says which option is missing", async () => {
  const { uri, name } = await shop();
  const asked = await runCommand(["init", await folder()], { ask: async () => uri });
  expect(asked.code).toBe(0);
  expect(asked.out).toContain(`2 collections of ${name}`);
  const { code, err } = await init(await folder());
  expect([code, err]).toEqual([2, expect.stringContaining("--uri is needed")]);
});
