/**
 * Builds the demo's page into dist/demo/page. It loads the client as pages without a build step do: the modules
 * that scripts/bundle-client.mjs has made, and nothing else of ours.
 *   node scripts/bundle-demo.mjs
 */
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";

const root = new URL("..", import.meta.url).pathname;
const source = join(root, "src", "demo", "page");
const outdir = join(root, "dist", "demo", "page");

await build({
  entryPoints: [join(source, "page.ts"), join(source, "page.css")],
  bundle: true,
  minify: true,
  sourcemap: true,
  target: "es2022",
  format: "esm",
  outdir,
  alias: { "tidewire/client/presence": "./client/presence.js", "tidewire/client": "./client/tidewire.js" },
  external: ["./client/tidewire.js", "./client/presence.js"],
});
await copyFile(join(source, "index.html"), join(outdir, "index.html"));
