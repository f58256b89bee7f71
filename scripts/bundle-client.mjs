/**
 * Bundles the client for pages without a build step, and prints what it weighs.
 *   node scripts/bundle-client.mjs [directory]     (dist/browser unless told)
 * tidewire.js         an ES module; what few need is left in chunks that are fetched when needed
 * tidewire.global.js  one classic script, which makes the global `tidewire`
 */
import { readdir, readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const root = new URL("..", import.meta.url).pathname;
const outdir = process.argv[2] ?? join(root, "dist", "browser");
const entry = join(root, "src", "client", "client.ts");
const common = { bundle: true, minify: true, sourcemap: true, target: "es2022", outdir };

await rm(outdir, { recursive: true, force: true });
await build({
  ...common,
  entryPoints: [{ in: entry, out: "tidewire" }],
  format: "esm",
  splitting: true,
});
await build({
  ...common,
  entryPoints: [{ in: entry, out: "tidewire.global" }],
  format: "iife",
  globalName: "tidewire",
});

for (const name of (await readdir(outdir)).filter((file) => file.endsWith(".js"))) {
  const code = await readFile(join(outdir, name));
  const kilobytes = (bytes) => `${(bytes / 1_000).toFixed(1)} kB`;
  console.log(
    `${basename(name)}: ${kilobytes(code.length)}, ${kilobytes(gzipSync(code, { level: 9 }).length)} gzip`,
  );
}
