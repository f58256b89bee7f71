/** The wheel of the client for Python, installed as users install it, runs every program of the README. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, type TestContext, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { skipWithout } from "../../support/installed.ts";
import { PYTHON_CLIENT, pythonWith } from "../../support/python.ts";
import { Running } from "../../support/running.ts";
import { SECRET, signToken, startTestService } from "../../support/service.ts";

const run = promisify(execFile);
const INSTALL_TIMEOUT_MS = 200_000;
const PAGE = readFileSync(join(PYTHON_CLIENT, "README.md"), "utf8");
/** As in config/tidewire.yaml. */
const COLLECTIONS = {
  orders: {
    rules: [{ name: "customer", filter: { customerId: "%%user.sub" }, fields: { exclude: ["margin"] } }],
  },
  presence: { rules: [{ name: "everyone" }] },
};
const PRESENCE = { rules: [{ name: "anyone" }] };

/** The programs by the headings above them. */
const PROGRAMS = new Map(
  Array.from(
    PAGE.matchAll(/^## (.+)\n(?:(?!^## |^```python)[^\n]*\n)*```python\n([\s\S]*?)^```$/gm),
    ([, heading = "", code = ""]) => [heading, code],
  ),
);

let folder = "";
let installed: { python: string } | { missing: string };
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tidewire-wheel-"));
  const builder = await pythonWith("build==1.6.1", "hatchling==1.33.0");
  installed = "missing" in builder ? builder : await install(builder.python);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Builds the wheel and the source archive, and installs the wheel into an environment of its own. */
async function install(builder: string) {
  const options = { timeout: INSTALL_TIMEOUT_MS };
  await run(builder, ["-m", "build", "--no-isolation", "--outdir", folder, PYTHON_CLIENT], options);
  const wheel = readdirSync(folder).find((name) => name.endsWith(".whl")) ?? "";
  const environment = join(folder, "environment");
  await run(builder, ["-m", "venv", environment], options);
  const python = join(environment, "bin", "python3");
  const pip = ["-m", "pip", "install", "--quiet", "--retries", "0", "--timeout", "10"];
  await run(python, [...pip, `${join(folder, wheel)}[bson]`, "PyJWT>=2.10"], options);
  return { python };
}

const pythonOrSkip = (skip: TestContext["skip"]): string =>
  "python" in installed ? installed.python : skipWithout(skip, installed.missing);

async function start(heading: string, python: string) {
  const code = PROGRAMS.get(heading);
  if (code === undefined) throw new Error(`no program under ${heading}`);
  return startProgram(code, python);
}

/** Runs a program against a service of its own. */
async function startProgram(text: string, python: string) {
  const { db, name, service, uri, settled } = await startTestService({
    collections: COLLECTIONS,
    presence: PRESENCE,
  });
  const orders = db.collection<{ _id: number; customerId: string; status: string; total?: number }>("orders");
  await orders.insertMany([
    { _id: 1, customerId: "ada", status: "open", total: 5 },
    { _id: 2, customerId: "ada", status: "paid", total: 2.5 },
    { _id: 3, customerId: "ben", status: "open", total: 1 },
  ]);
  await settled();
  const file = join(folder, "program.py");
  await writeFile(file, text.replaceAll("127.0.0.1:8480", `127.0.0.1:${service.address.port}`));
  const env = {
    ...process.env,
    PYTHONUNBUFFERED: "1",
    MONGODB_URI: uri,
    MONGODB_DATABASE: name,
    TIDEWIRE_JWT_SECRET: SECRET,
    TIDEWIRE_TOKEN: await signToken({ sub: "ada" }),
  };
  const again = () => new Running(python, [file], folder, env);
  return { orders, again, program: again() };
}

test("the wheel and the source archive hold the package, its types and its licence", async ({ skip }) => {
  const python = pythonOrSkip(skip);
  const names = readdirSync(folder).filter((name) => /\.(whl|gz)$/.test(name));
  expect(names.sort()).toEqual([
    expect.stringMatching(/^tidewire-[\d.]+-py3-none-any\.whl$/),
    expect.stringMatching(/^tidewire-[\d.]+\.tar\.gz$/),
  ]);
  const { stdout } = await run(python, ["-m", "zipfile", "-l", join(folder, names[0]!)]);
  for (const name of ["tidewire/py.typed", "tidewire/sync.py", "licenses/LICENSE"])
    expect(stdout).toContain(name);
  expect(stdout).not.toContain("tests/");
});

test("every program of the README is tested here", () => {
  expect([...PROGRAMS.keys()]).toEqual([
    "Follow a query",
    "Without asyncio",
    "Counts and groups",
    "Read your own writes",
    "Presence",
    "A program that is started again",
    "Tokens",
    "Errors",
  ]);
  expect(PAGE.match(/```python/g)).toHaveLength(PROGRAMS.size);
});

test("the program of docs/clients.md shows the snapshot, and each change", async ({ skip }) => {
  const page = readFileSync(join(ROOT, "docs", "clients.md"), "utf8");
  const [, code = ""] = /```python\n([\s\S]*?)```/.exec(page) ?? [];
  const lines = [
    "import asyncio, os, tidewire",
    "token = os.environ['TIDEWIRE_TOKEN']",
    "show = lambda documents: print('shown', [one['_id'] for one in documents])",
    "update = lambda document: print('updated', document['_id'])",
    "remove = lambda document_id: print('removed', document_id)",
    "async def main():",
    ...code
      .replace("https://live.example.com", "http://127.0.0.1:8480")
      .split("\n")
      .map((line) => `    ${line}`),
    "asyncio.run(main())",
  ];
  const { program, orders } = await startProgram(lines.join("\n"), pythonOrSkip(skip));
  await program.line(/^shown \[1\]$/);
  await orders.insertOne({ _id: 4, customerId: "ada", status: "open" });
  await program.line(/^updated 4$/);
  await orders.deleteOne({ _id: 4 });
  await program.line(/^removed 4$/);
});

test("the first program prints the snapshot, and each change", async ({ skip }) => {
  const { program, orders } = await start("Follow a query", pythonOrSkip(skip));
  await program.line(
    /^Snapshot\(documents=\[\{'_id': 1, 'customerId': 'ada', 'status': 'open', 'total': 5\}\]/,
  );
  await orders.insertOne({ _id: 4, customerId: "ada", status: "open" });
  await program.line(/^Added\(document=\{'_id': 4, /);
  await orders.updateOne({ _id: 4 }, { $set: { total: 7 } });
  await program.line(/^Changed\(document=\{'_id': 4, .*'total': 7\}, previous=\{'_id': 4, /);
  await orders.deleteOne({ _id: 4 });
  await program.line(/^Removed\(id=4, /);
});

test("the program without asyncio prints the result after every change", async ({ skip }) => {
  const { program, orders } = await start("Without asyncio", pythonOrSkip(skip));
  await program.line(/^\[\{'_id': 1, .*\}\]$/);
  await orders.insertOne({ _id: 4, customerId: "ada", status: "open", total: 1 });
  await program.line(/^\[\{'_id': 4, .*\{'_id': 1, /);
});

test("the program with groups prints the rows", async ({ skip }) => {
  const { program, orders } = await start("Counts and groups", pythonOrSkip(skip));
  await program.line(/\{'_id': 'paid', 'orders': 1, 'revenue': 2\.5\}/);
  await orders.insertOne({ _id: 4, customerId: "ada", status: "paid", total: 1 });
  await program.line(/\{'_id': 'paid', 'orders': 2, 'revenue': 3\.5\}/);
});

test("the program that writes sees its own write, as a type of bson", async ({ skip }) => {
  const { program, orders } = await start("Read your own writes", pythonOrSkip(skip));
  const [shown = ""] = await program.line(/^[0-9a-f]{24}$/);
  const added = await orders.findOne({ customerId: "ada", status: { $exists: false } } as object);
  expect(String(added?._id)).toBe(shown);
});

test("the program in a room sees itself, and its new data", async ({ skip }) => {
  const { program } = await start("Presence", pythonOrSkip(skip));
  await program.line(/^\[\('ada', \{'typing': False\}\)\]$/);
  await program.line(/^\[\('ada', \{'typing': True\}\)\]$/);
});

test("the program that is started again prints the changes from the time when it did not run", async ({
  skip,
}) => {
  const { program, orders, again } = await start("A program that is started again", pythonOrSkip(skip));
  await expect
    .poll(async () => {
      // No snapshot says that the program follows. An order that it prints does.
      await orders.updateOne({ _id: 1 }, { $inc: { total: 1 } });
      return program.lines.length;
    })
    .toBeGreaterThan(0);
  program.child.kill("SIGINT");
  await expect.poll(() => program.child.exitCode ?? program.child.signalCode).not.toBe(null);
  await orders.insertOne({ _id: 4, customerId: "ada", status: "open" });
  await again().line(/^Added\(document=\{'_id': 4, /);
});

test("the program with a function for tokens connects", async ({ skip }) => {
  const { program } = await start("Tokens", pythonOrSkip(skip));
  await program.line(/^\[\{'_id': 1, .*\{'_id': 2, /);
});

test("the program with an error prints its code and details", async ({ skip }) => {
  const { program } = await start("Errors", pythonOrSkip(skip));
  await program.line(/^forbidden \{'part': 'filter', 'path': 'margin'\}$/);
});
