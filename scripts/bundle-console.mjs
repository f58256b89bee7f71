/**
 * Builds the console into dist/console: one page, and files whose names contain a hash of their content, so that browsers may
 * keep them for ever. The editor and the charts are chunks of their own, which a view loads when it needs them.
 *   node scripts/bundle-console.mjs [--quiet]
 */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const root = new URL("..", import.meta.url).pathname;
const source = join(root, "src", "console");
const outdir = join(root, "dist", "console");

await rm(outdir, { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: [join(source, "main.tsx"), join(source, "style", "console.css")],
  bundle: true,
  splitting: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  define: { "process.env.NODE_ENV": '"production"' },
  outdir: join(outdir, "assets"),
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});

const outputs = Object.entries(metafile.outputs);
const builtFrom = (entry) => {
  const found = outputs.find(([, { entryPoint }]) => entryPoint?.endsWith(`src/console/${entry}`));
  return basename(found[0]);
};
const files = { SCRIPT: builtFrom("main.tsx"), STYLE: builtFrom("style/console.css") };
const page = await readFile(join(source, "index.html"), "utf8");
await mkdir(outdir, { recursive: true });
await writeFile(
  join(outdir, "index.html"),
  page.replace(/\{\{(\w+)\}\}/g, (_, name) => `/assets/${files[name]}`),
);

/** The packages whose code is in the bundle. Their licences ask for a copy of their text. */
const names = new Set(
  Object.keys(metafile.inputs).flatMap(
    (path) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? [],
  ),
);
const notices = [...names].sort().map(async (name) => {
  const directory = join(root, "node_modules", name);
  const { version, license } = JSON.parse(await readFile(join(directory, "package.json"), "utf8"));
  const file = (await readdir(directory)).find((entry) => /^licen[cs]e/i.test(entry));
  const text = file === undefined ? "" : await readFile(join(directory, file), "utf8");
  return `${name} ${version} (${license})\n\n${text.trim()}\n`;
});
await writeFile(join(outdir, "licences.txt"), (await Promise.all(notices)).join("\n\n"));

if (!process.argv.includes("--quiet")) {
  for (const [path] of outputs) {
    const bytes = gzipSync(await readFile(path)).length;
    console.log(`${basename(path)}: ${(bytes / 1_000).toFixed(1)} kB gzipped`);
  }
}
