/**
 * Writes the package of the client alone, from what `npm run prepack` has built.
 *   node scripts/client-package.mjs [directory]     (default: dist/client-package)
 * Its modules are those of the package `tidewire`: the entries, and every file that they import.
 */
import { copyFile, cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { clientEntries } from "./client-entries.mjs";

const root = new URL("..", import.meta.url).pathname;
const dist = join(root, "dist");
const outdir = process.argv[2] ?? join(dist, "client-package");

const FRAMEWORKS = ["@tanstack/db", "react", "vue"];
const IMPORT = /(?:\bfrom\s*|\bimport\s*\(?\s*)["'](\.[^"']+)["']/g;

/** The file and all that it imports, relative to `dist`. */
async function reachable(file, found = new Set()) {
  if (found.has(file)) return found;
  found.add(file);
  const text = await readFile(join(dist, file), "utf8");
  for (const [, specifier] of text.matchAll(IMPORT)) {
    const target = relative(dist, join(dist, dirname(file), specifier));
    // Declarations import by the names that the modules will have, or by those of the sources.
    const isTypes = file.endsWith(".d.ts");
    await reachable(isTypes ? target.replace(/(?<!\.d)\.(?:js|ts)$/, ".d.ts") : target, found);
  }
  return found;
}

const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
const entries = clientEntries(manifest);
const files = new Set();
for (const { path: entry } of entries)
  for (const ending of [".js", ".d.ts"]) for (const file of await reachable(entry + ending)) files.add(file);

await rm(outdir, { recursive: true, force: true });
for (const file of files) {
  const target = join(outdir, "dist", file);
  await mkdir(dirname(target), { recursive: true });
  const text = await readFile(join(dist, file), "utf8");
  // The maps point to sources that no package contains.
  await writeFile(target, text.replace(/\n\/\/# sourceMappingURL=.*\s*$/, "\n"));
}
await cp(join(dist, "browser"), join(outdir, "dist", "browser"), {
  recursive: true,
  filter: (path) => !/demo|\.map$/.test(path),
});
await copyFile(join(root, "LICENSE"), join(outdir, "LICENSE"));
await copyFile(join(root, "src", "client", "README.md"), join(outdir, "README.md"));

const { version, license, type, engines, unpkg, jsdelivr, peerDependencies } = manifest;
const peers = Object.fromEntries(FRAMEWORKS.map((name) => [name, peerDependencies[name]]));
const own = {
  name: "tidewire-client",
  version,
  description:
    "The client of Tidewire: live queries on your own MongoDB, for browsers, React, Vue, Svelte and Node.",
  license,
  type,
  engines,
  sideEffects: false,
  files: ["dist", "README.md", "LICENSE"],
  exports: {
    ...Object.fromEntries(
      entries.map(({ name, path }) => [name, { types: `./dist/${path}.d.ts`, default: `./dist/${path}.js` }]),
    ),
    "./package.json": "./package.json",
  },
  unpkg,
  jsdelivr,
  peerDependencies: peers,
  peerDependenciesMeta: Object.fromEntries(FRAMEWORKS.map((name) => [name, { optional: true }])),
};
await writeFile(join(outdir, "package.json"), `${JSON.stringify(own, null, 2)}\n`);
console.log(
  `tidewire-client ${version}: ${files.size} modules and declarations in ${relative(root, outdir)}`,
);
