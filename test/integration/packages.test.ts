/** Both packages as npm would publish them, in projects that know nothing of this one. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { compile as compileSvelte } from "svelte/compiler";
import { build, type Plugin } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { compileScript, parse as parseSfc } from "vue/compiler-sfc";
import { ROOT } from "../support/build.ts";
import { skipWithout } from "../support/installed.ts";
import { runtime } from "../support/runtimes.ts";

const run = promisify(execFile);
const FRAMEWORKS = [
  "react",
  "react-dom",
  "vue",
  "@vue",
  "svelte",
  "esm-env",
  "clsx",
  "@tanstack",
  "@types",
  "csstype",
  "scheduler",
];
const TOKEN = 'async () => (await fetch("/token")).text()';

let folder: string;
/** A project with the package of the client, and links to the frameworks, as they are no part of what is tested. */
let consumer: string;

const node = (...args: string[]) => run(process.execPath, args, { cwd: consumer });

async function write(name: string, text: string): Promise<string> {
  const file = join(consumer, name);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
  return file;
}

async function pack(directory: string): Promise<string> {
  const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], {
    cwd: directory,
  });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  return join(folder, filename);
}

async function install(directory: string, ...packages: string[]): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "package.json"), '{ "private": true }');
  await run(
    "npm",
    ["install", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts", ...packages],
    { cwd: directory },
  );
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tidewire-packages-"));
  await run(process.execPath, [join(ROOT, "scripts", "client-package.mjs"), join(folder, "client")]);
  consumer = join(folder, "consumer");
  await install(consumer, await pack(join(folder, "client")));
  for (const name of FRAMEWORKS)
    await symlink(join(ROOT, "node_modules", name), join(consumer, "node_modules", name));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("the package of the client has the version of the service, its licence, and no dependencies", async () => {
  const own = JSON.parse(
    await readFile(join(consumer, "node_modules", "tidewire-client", "package.json"), "utf8"),
  );
  const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
  expect(own).toMatchObject({ version, license: "Apache-2.0" });
  expect(own).not.toHaveProperty("dependencies");
  expect(Object.keys(own.peerDependencies)).toEqual(Object.keys(own.peerDependenciesMeta));
  const files = await readdir(join(consumer, "node_modules", "tidewire-client"));
  expect(files.sort()).toEqual(["LICENSE", "README.md", "dist", "package.json"]);
});

test("the package of the service does not contain the package of the client", async () => {
  const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--dry-run", "--json"], { cwd: ROOT });
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  expect(files.map(({ path }) => path).filter((path) => path.includes("client-package"))).toEqual([]);
  expect(files.map(({ path }) => path)).toContain("dist/cli/main.js");
});

test("an ES module and a CommonJS module of Node load it", async () => {
  const esm =
    'import { createClient } from "tidewire-client"; import { useLiveQuery } from "tidewire-client/react"; import { tidewire } from "tidewire-client/vue"; import "tidewire-client/tanstack-db"; console.log(typeof createClient, typeof useLiveQuery, typeof tidewire);';
  expect((await node(await write("esm.mjs", esm))).stdout).toBe("function function function\n");
  const cjs =
    'console.log(typeof require("tidewire-client").createClient, typeof require("tidewire-client/react").useLiveQuery);';
  expect(await node(await write("cjs.cjs", cjs))).toEqual({ stdout: "function function\n", stderr: "" });
});

test.each(["bundler", "nodenext"])(
  "strict TypeScript takes every entry with the module resolution %s",
  async (moduleResolution) => {
    const code = `
import { createClient } from "tidewire-client";
import { useLiveQuery } from "tidewire-client/react";
import { useLiveQuery as useVueQuery } from "tidewire-client/vue";
export * from "tidewire-client/tanstack-db";
interface Todo { _id: string; text: string }
export const client = createClient({ url: "https://live.example.com", token: ${TOKEN} });
const query = client.collection<Todo>("todos").find({ text: "a" });
export const texts = (): string[] => useLiveQuery(query).data.map(({ text }) => text);
export const vueTexts = (): string[] => useVueQuery(query).data.value.map(({ text }) => text);
// @ts-expect-error a todo has no such field
query.subscribe({ data: (todos) => todos[0]?.missing });
`;
    await write("typed.mts", code);
    const compilerOptions = {
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      noEmit: true,
      skipLibCheck: false,
      target: "ES2023",
      lib: ["ES2023", "DOM", "DOM.Iterable"],
      types: [],
      module: moduleResolution === "bundler" ? "ESNext" : "NodeNext",
      moduleResolution,
      preserveSymlinks: true,
    };
    const config = await write(
      `tsconfig.${moduleResolution}.json`,
      JSON.stringify({ compilerOptions, files: ["typed.mts"] }),
    );
    // The declarations of the frameworks have faults of their own under these options.
    const { stdout = "" } = await node(
      join(ROOT, "node_modules", "typescript", "bin", "tsc"),
      "-p",
      config,
    ).catch((error) => error);
    expect(stdout.split("\n").filter((line: string) => /tidewire|^typed/.test(line))).toEqual([]);
  },
);

/** Single-file components, compiled as the plugins of the frameworks do. */
const components: Plugin = {
  name: "components",
  transform(code, id) {
    if (id.endsWith(".svelte")) return compileSvelte(code, { filename: id, generate: "client" }).js.code;
    if (!id.endsWith(".vue")) return null;
    return compileScript(parseSfc(code).descriptor, { id: "app", inlineTemplate: true }).content;
  },
};

const PAGES: readonly (readonly [string, string, Readonly<Record<string, string>>])[] = [
  [
    "React",
    "react/main.jsx",
    {
      "react/main.jsx": `import { createElement } from "react"; import { createRoot } from "react-dom/client"; import { createClient } from "tidewire-client"; import { TidewireProvider, useLiveQuery, useTidewire } from "tidewire-client/react";
const client = createClient({ url: "http://127.0.0.1:8480", token: ${TOKEN} });
const List = () => createElement("ul", null, useLiveQuery(useTidewire().collection("todos").find()).data.length);
createRoot(document.body).render(createElement(TidewireProvider, { client }, createElement(List)));`,
    },
  ],
  [
    "Vue",
    "vue/main.js",
    {
      "vue/main.js": `import { createApp } from "vue"; import { createClient } from "tidewire-client"; import { tidewire } from "tidewire-client/vue"; import App from "./App.vue";
createApp(App).use(tidewire(createClient({ url: "http://127.0.0.1:8480", token: ${TOKEN} }))).mount("body");`,
      "vue/App.vue": `<script setup>import { useLiveQuery, useTidewire } from "tidewire-client/vue"; const { data } = useLiveQuery(useTidewire().collection("todos").find());</script><template><p>{{ data.length }}</p></template>`,
    },
  ],
  [
    "Svelte",
    "svelte/main.js",
    {
      "svelte/main.js": `import { mount } from "svelte"; import App from "./App.svelte"; mount(App, { target: document.body });`,
      "svelte/App.svelte": `<script>import { createClient } from "tidewire-client"; const todos = createClient({ url: "http://127.0.0.1:8480", token: ${TOKEN} }).collection("todos").find();</script><p>{$todos.data.length}</p>`,
    },
  ],
];

test.each(PAGES)("Vite bundles a page of %s", async (_name, entry, files) => {
  for (const [name, text] of Object.entries(files)) await write(name, text);
  const warnings: string[] = [];
  // Bundlers say so of every package that has "use client".
  const onwarn = ({ message, code }: { message: string; code?: string }) =>
    code === "MODULE_LEVEL_DIRECTIVE" ? undefined : warnings.push(message);
  const result = await build({
    root: consumer,
    configFile: false,
    logLevel: "silent",
    plugins: [components],
    resolve: { preserveSymlinks: true },
    build: { write: false, rollupOptions: { input: join(consumer, entry), onwarn } },
  });
  const [bundle] = [result].flat();
  const chunks = bundle !== undefined && "output" in bundle ? bundle.output : [];
  const code = chunks.map((chunk) => ("code" in chunk ? chunk.code : "")).join("\n");
  expect(code).toContain("tidewire.v1");
  expect(code).not.toMatch(/from\s*["']node:/);
  expect(warnings).toEqual([]);
});

test("a React Server Component takes the hooks as references (Node with the condition react-server, not Next itself)", async () => {
  const component = `
import { createClient } from "tidewire-client";
import { TidewireProvider, useLiveQuery } from "tidewire-client/react";
console.log(typeof createClient, String(TidewireProvider.$$typeof), String(useLiveQuery.$$typeof));`;
  const loader = join(ROOT, "test", "support", "react-server.mjs");
  const { stdout } = await node(
    "--conditions=react-server",
    "--import",
    loader,
    await write("server.mjs", component),
  );
  expect(stdout).toBe("function Symbol(react.client.reference) Symbol(react.client.reference)\n");
});

test.for(["bun", "deno"] as const)(
  "%s loads it and reports a missing service as an error, not a crash",
  { timeout: 180_000 }, // with the installation of the runtime
  async (name, { skip }) => {
    const found = await runtime(name);
    if ("missing" in found) return skipWithout(skip, found.missing);
    const code = `
import { createClient } from "tidewire-client";
const client = createClient({ url: "http://127.0.0.1:1", token: async () => "t", logger: false });
const stop = client.collection("todos").find().subscribe((state) => {
  if (state.status !== "connecting" && state.status !== "offline" && state.status !== "waiting") return;
  setTimeout(() => { stop(); client.close(); console.log("ok", typeof WebSocket); }, 0);
});`;
    const file = await write("runtime.mjs", code);
    const args = name === "deno" ? ["run", "--allow-net", "--node-modules-dir=manual", file] : ["run", file];
    const { stdout } = await run(found.program, args, { cwd: consumer, timeout: 30_000 });
    expect(stdout).toContain("ok function");
  },
);

test("the package of the service installs in an empty project, and its command writes a configuration that check accepts", async () => {
  const service = join(folder, "service");
  await install(service, await pack(ROOT));
  const tidewire = (...args: string[]) => run("npx", ["--no-install", "tidewire", ...args], { cwd: service });
  expect((await tidewire("--version")).stdout).toMatch(/^tidewire \d/);
  await tidewire("init", "--offline");
  expect((await tidewire("check")).stdout).toContain("ok: config/tidewire.yaml");
});
