/** The client as pages without a build step get it. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { createContext, runInContext } from "node:vm";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { FakeService } from "../../support/fake-service.ts";

/** The names that the core exports, and the client with all parts as well. */
const CORE_EXPORTS = [
  "Client",
  "Collection",
  "TidewireError",
  "avg",
  "count",
  "createClient",
  "max",
  "min",
  "sum",
];

let directory = "";
let printed = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "tidewire-bundle-"));
  const script = join(ROOT, "scripts", "bundle-client.mjs");
  ({ stdout: printed } = await promisify(execFile)(process.execPath, [script, directory]));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const read = (name: string) => readFile(join(directory, name), "utf8");
const gzipped = (text: string) => gzipSync(text, { level: 9 }).length;

test("the module is one file that weighs at most 12.6 kB, gzipped; what few need is fetched when it is needed", async () => {
  const module = await read("tidewire.js");
  expect(gzipped(module)).toBeLessThanOrEqual(12_600);
  expect(module).not.toMatch(/(?:^|[;}\s])(?:import|export)[^;"'(]*?from\s*"/);
  expect(module).toContain('import("./http-transport.js")');
  expect(await read("http-transport.js")).toContain("HttpTransport");
});

test("the classic script weighs at most 14.3 kB, gzipped, with everything in it", async () => {
  expect(gzipped(await read("tidewire.global.js"))).toBeLessThanOrEqual(14_300);
});

test("the core weighs at most 10.0 kB, gzipped, and 9.7 kB with shortened names", async () => {
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, "src", "client", "core.ts")],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2022",
  });
  expect(gzipped(outputFiles[0]?.text ?? "")).toBeLessThanOrEqual(10_000);
  expect(gzipped(await read("core.js"))).toBeLessThanOrEqual(9_750);
});

test("the core imports no part, and nothing later", async () => {
  const core = await read("core.js");
  expect(core).not.toMatch(/\bimport\s*\(|(?:^|[;}\s])(?:import|export)[^;"'(]*?from\s*"/);
  const module: object = await import(join(directory, "core.js"));
  expect(Object.keys(module).sort()).toEqual(CORE_EXPORTS);
});

test("the script says what each file weighs", () => {
  expect(printed).toMatch(/^tidewire\.js: [\d.]+ kB, [\d.]+ kB gzip$/m);
  expect(printed).toMatch(/^tidewire\.global\.js: [\d.]+ kB, [\d.]+ kB gzip$/m);
});

test("nothing of Node is in it", async () => {
  for (const name of ["tidewire.js", "tidewire.global.js"]) {
    expect(await read(name)).not.toMatch(/\b(?:require|Buffer|process)\b|["']node:/);
  }
});

test("the classic script makes a global that connects, in a page that has nothing but the web's own", async () => {
  const service = new FakeService();
  const { WebSocket } = service;
  const page = createContext({ WebSocket, setTimeout, clearTimeout, queueMicrotask, URL });
  runInContext(await read("tidewire.global.js"), page);
  runInContext(
    'client = tidewire.createClient({ url: "https://live.test" }); client.collection("orders").find().subscribe(() => {})',
    page,
  );
  await expect.poll(() => service.sockets.length).toBe(1);
  expect(service.socket.url).toBe("wss://live.test/v1/ws");
  runInContext("client.close()", page);
});

test("the module exports what the documentation names", async () => {
  const module: object = await import(join(directory, "tidewire.js"));
  expect(Object.keys(module).sort()).toEqual([...CORE_EXPORTS, "indexedDbStore", "memoryStore"].sort());
});

test("each entry adds what the page about clients says", async () => {
  const script = join(ROOT, "scripts", "client-sizes.mjs");
  const { stdout } = await promisify(execFile)(process.execPath, [script]);
  const page = await readFile(join(ROOT, "docs", "clients.md"), "utf8");
  const sizes = Array.from(
    stdout.matchAll(/^(\S+): ([\d.]+) kB$/gm),
    ([, name, size]) => [name, Number(size)] as const,
  );
  const rows = Array.from(
    page.matchAll(/^\| `(tidewire\/[\w/-]+)` \| ([\d.]+) kB \|$/gm),
    ([, name, size]) => [name, Number(size)] as const,
  );
  expect(rows.map(([name]) => name)).toEqual(sizes.map(([name]) => name));
  for (const [at, [name, size]] of sizes.entries()) {
    const stated = rows[at]?.[1] ?? 0;
    expect(
      Math.abs(stated - size),
      `${name}: ${size} kB, and the page says ${stated} kB`,
    ).toBeLessThanOrEqual(0.15);
  }
});
