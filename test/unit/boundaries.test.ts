/** The order of the folders under `src/` as a test: a stage imports what lies before it, never what comes after. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, sep } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../support/build.ts";

const BEFORE_ADMIN = [
  "protocol",
  "metrics",
  "match",
  "auth",
  "rules",
  "source",
  "feed",
  "gateway",
  "presence",
];

/** Folder → what it may import besides itself. Type imports count: they bind as well. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  metrics: [],
  outbound: [],
  match: ["protocol"],
  auth: ["protocol"],
  rules: ["protocol", "match"],
  source: ["protocol", "metrics"],
  feed: ["protocol", "metrics", "match", "source"],
  gateway: ["protocol", "metrics", "auth", "rules", "feed"],
  presence: ["protocol", "metrics", "match", "auth", "rules", "source", "feed", "gateway"],
  sinks: ["protocol", "metrics", "match", "auth", "rules", "source", "feed", "gateway", "outbound"],
  push: ["protocol", "metrics", "auth", "rules", "source", "feed", "gateway", "outbound"],
  admin: [...BEFORE_ADMIN, "sinks"],
  config: [...BEFORE_ADMIN, "sinks", "admin", "push"],
  "app-services": ["protocol", "match", "config"],
  cluster: [...BEFORE_ADMIN, "sinks", "admin", "push", "config"],
  client: ["protocol"],
  terminal: ["protocol", "client"],
  react: ["protocol", "client"],
  vue: ["protocol", "client"],
  "tanstack-db": ["protocol", "client"],
  devtools: ["protocol", "client"],
  console: ["admin"],
};

/** These know every part. */
const UNBOUND_FOLDERS = ["node", "cli", "demo", "kit"];
/** The command line starts the demo, never the other way round. */
const NEVER_IMPORTS: readonly (readonly [string, string])[] = [
  ["demo", "cli"],
  ["node", "cli"],
  ["node", "demo"],
  ["kit", "cli"],
  ["node", "kit"],
];
const UNBOUND_FILES = ["server.ts", "follow-revocations.ts", "worker.ts", "index.ts"];

/** Code for browsers uses neither Node nor the driver; pure code does no input or output. */
const NEVER_FROM: Readonly<Record<string, RegExp>> = {
  protocol: /^(node:|mongodb$|bson$)/,
  client: /^(node:|mongodb$|bson$|zod)/,
  react: /^(node:|mongodb$|bson$|zod|ws$)/,
  vue: /^(node:|mongodb$|bson$|zod|ws$)/,
  "tanstack-db": /^(node:|mongodb$|bson$|zod|ws$)/,
  devtools: /^(node:|mongodb$|bson$|zod|ws$)/,
  console: /^(node:|mongodb$|bson$|zod|ws$)/,
  match: /^node:(?!assert|buffer|string_decoder|util)/,
};

/** The order inside of `gateway/`: a part imports itself and the parts before it. Other files there know every part. */
const GATEWAY_ORDER = [
  "origins.ts",
  "host-options.ts",
  "admin-options.ts",
  "tls-options.ts",
  "grpc-options.ts",
  "options.ts",
  "limits.ts",
  "rights",
  "refusals.ts",
  "client-trace.ts",
  "presence.ts",
  "context.ts",
  "connection",
  "transports",
  "http",
  "socketio",
  "grpc",
];

const SRC = join(ROOT, "src");

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((file) => /\.tsx?$/.test(file))
  .map((file) => ({ file: file.split(sep).join("/"), text: readFileSync(join(SRC, file), "utf8") }));

/** The specifiers of every import and re-export, over several lines too, and of `import("…")`. */
function importsOf(text: string): string[] {
  const patterns = [
    /^(?:import|export)\s[^"';]*?\bfrom\s*["']([^"']+)["']/gm,
    /^import\s*["']([^"']+)["']/gm,
    /\bimport\(\s*["']([^"']+)["']/g,
  ];
  return patterns.flatMap((pattern) => Array.from(text.matchAll(pattern), (match) => match[1] ?? ""));
}

const folderOf = (file: string) => (file.includes("/") ? file.slice(0, file.indexOf("/")) : undefined);

/** The file under `src/` that a relative import means; undefined for a package, and for data. */
function target(file: string, specifier: string): string | undefined {
  if (!specifier.startsWith(".") || specifier.endsWith(".json")) return undefined;
  return normalize(join(dirname(file), specifier))
    .split(sep)
    .join("/");
}

test("every folder under src/ has a position in the order", () => {
  const known = [...Object.keys(MAY_IMPORT), ...UNBOUND_FOLDERS, ...UNBOUND_FILES];
  const unknown = readdirSync(SRC).filter((name) => !known.includes(name));
  expect(unknown).toEqual([]);
});

test("no file imports a folder that comes after its own", () => {
  const violations = files.flatMap(({ file, text }) => {
    const allowed = MAY_IMPORT[folderOf(file) ?? ""];
    if (allowed === undefined) return [];
    return importsOf(text).flatMap((specifier) => {
      const imported = target(file, specifier);
      if (imported === undefined) return [];
      const folder = folderOf(imported);
      const fine = folder !== undefined && (folder === folderOf(file) || allowed.includes(folder));
      return fine ? [] : [`${file} imports ${imported}`];
    });
  });
  expect(violations).toEqual([]);
});

test("neither the demo nor a node imports the command line that starts it", () => {
  const violations = NEVER_IMPORTS.flatMap(([from, to]) =>
    files
      .filter(({ file }) => folderOf(file) === from)
      .flatMap(({ file, text }) =>
        importsOf(text)
          .filter((specifier) => folderOf(target(file, specifier) ?? "") === to)
          .map((specifier) => `${file} imports ${specifier}`),
      ),
  );
  expect(violations).toEqual([]);
});

test("no part of the gateway imports a part that comes after it", () => {
  const partOf = (file: string) => GATEWAY_ORDER.indexOf(file.split("/")[1] ?? "");
  const violations = files.flatMap(({ file, text }) => {
    if (folderOf(file) !== "gateway" || partOf(file) < 0) return [];
    return importsOf(text).flatMap((specifier) => {
      const imported = target(file, specifier);
      if (imported === undefined || folderOf(imported) !== "gateway") return [];
      const isBefore = partOf(imported) >= 0 && partOf(imported) <= partOf(file);
      return isBefore ? [] : [`${file} imports ${imported}`];
    });
  });
  expect(violations).toEqual([]);
  const folders = readdirSync(join(SRC, "gateway"), { withFileTypes: true }).filter((entry) =>
    entry.isDirectory(),
  );
  expect(folders.map(({ name }) => name).filter((name) => !GATEWAY_ORDER.includes(name))).toEqual([]);
});

test("what must run in a browser, or be pure, imports no package that is neither", () => {
  const violations = files.flatMap(({ file, text }) => {
    const never = NEVER_FROM[folderOf(file) ?? ""];
    return importsOf(text)
      .filter((specifier) => never?.test(specifier))
      .map((specifier) => `${file} imports ${specifier}`);
  });
  expect(violations).toEqual([]);
});

/** The packages that a file and the files that it imports load with it, without what they import when they need it. */
function loadedWith(file: string, seen = new Set<string>()): Set<string> {
  const packages = new Set<string>();
  const text = files.find((other) => other.file === file)?.text ?? "";
  seen.add(file);
  const imports = text.matchAll(/^(?:import|export)\s(?!type\b)(?:[^"';]*?\bfrom\s*)?["']([^"']+)["']/gm);
  for (const [, specifier = ""] of imports) {
    const imported = target(file, specifier);
    if (imported === undefined) packages.add(specifier.match(/^(?:@[^/]+\/)?[^/]+/)?.[0] ?? specifier);
    else if (!seen.has(imported)) for (const name of loadedWith(imported, seen)) packages.add(name);
  }
  return packages;
}

test("a node loads no package that few nodes need, so that it starts quickly", () => {
  const packages = [...loadedWith("cli/start.ts")].filter((name) => !name.startsWith("node:"));
  expect(packages.sort()).toEqual([
    "ipaddr.js",
    "jose",
    "mongodb",
    "pino",
    "prom-client",
    "standardwebhooks",
    "ws",
    "yaml",
    "zod",
  ]);
});

test("the console takes nothing but types from the admin listener, because its code is for Node", () => {
  const violations = files
    .filter(({ file }) => folderOf(file) === "console")
    .flatMap(({ file, text }) =>
      Array.from(
        text.matchAll(/^import\s(?!type\b)[^"';]*?\bfrom\s*["']([^"']+)["']/gm),
        ([, name = ""]) => name,
      )
        .filter((specifier) => folderOf(target(file, specifier) ?? "") === "admin")
        .map((specifier) => `${file} imports ${specifier}`),
    );
  expect(violations).toEqual([]);
});

test("only the package's entries re-export", () => {
  const { exports } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { exports: unknown };
  const entries = Array.from(
    JSON.stringify(exports).matchAll(/dist\/([\w/-]+)\.js/g),
    (match) => `${match[1]}.ts`,
  );
  const reexporting = files
    .filter(({ text }) => /^export\s[^"';]*?\bfrom\s*["']/m.test(text))
    .map(({ file }) => file);
  expect(reexporting.filter((file) => !entries.includes(file))).toEqual([]);
});

test("imports are found however they are written", () => {
  const text = [
    'import one from "./one.ts";',
    'import { type A,\n  b,\n} from "./two.ts";',
    'import type { C } from "./three.ts";',
    'export { d } from "./four.ts";',
    'import "./five.ts";',
    'const six = await import("./six.ts");',
    'export const text = "./not.ts";',
    '// from "./not-either.ts"',
  ].join("\n");
  const found = ["./one.ts", "./two.ts", "./three.ts", "./four.ts", "./five.ts", "./six.ts"];
  expect(importsOf(text).sort()).toEqual(found.sort());
});
