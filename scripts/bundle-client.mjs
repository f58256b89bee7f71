/**
 * Bundles the client for pages without a build step, and prints what it weighs.
 *   node scripts/bundle-client.mjs [directory]     (default: dist/browser; prints nothing with --quiet)
 * tidewire.js         an ES module; what few need is in http-transport.js, which it fetches when that is needed
 * core.js             the core of the client, without its parts
 * presence.js         presence, as a module of its own beside either of them
 * tidewire.global.js  one classic script, which makes the global `tidewire`
 */
import { readdir, readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const root = new URL("..", import.meta.url).pathname;
const isQuiet = process.argv.includes("--quiet");
const outdir =
  process.argv.slice(2).find((argument) => argument !== "--quiet") ?? join(root, "dist", "browser");
const entry = join(root, "src", "client", "client.ts");
/** Members of classes that no application sees, and that no message contains. Their names are shortened. */
const INTERNAL = `
  abandoned accepted acquire advance answered askAll asked attempted drop forget greeting
  hasEnded hasToken heard isCurrent isDraining isReady isUsed lacksWebSocket lastError later lay listen
  momentWithin nextDelayMs note ownError passed pauseMs prune refusals renewed restore resumeFailed resumePoint
  resumed resuming rightsMoved serves startOver stateOf take takenOver trace unheard unusedStateOf
  upgradeMs views waitAtLeast wasEarly watchers welcomed withNewToken
`;
const common = {
  bundle: true,
  minify: true,
  mangleProps: new RegExp(`^(?:${INTERNAL.trim().split(/\s+/).join("|")})$`),
  sourcemap: true,
  target: "es2022",
  outdir,
};

await rm(outdir, { recursive: true, force: true });
/**
 * The second choices of transport are a file of their own, which repeats the little that both need: a shared chunk
 * would be one more file for everybody to fetch, before anything else can begin.
 */
const fetchedWhenNeeded = {
  name: "fetched-when-needed",
  setup({ onResolve }) {
    onResolve({ filter: /\/http-transport\.ts$/ }, ({ kind }) =>
      kind === "dynamic-import" ? { path: "./http-transport.js", external: true } : undefined,
    );
  },
};
await build({
  ...common,
  entryPoints: [
    { in: entry, out: "tidewire" },
    { in: join(root, "src", "client", "core.ts"), out: "core" },
    { in: join(root, "src", "client", "http-transport.ts"), out: "http-transport" },
    { in: join(root, "src", "client", "presence", "presence.ts"), out: "presence" },
  ],
  format: "esm",
  plugins: [fetchedWhenNeeded],
});
await build({
  ...common,
  entryPoints: [{ in: entry, out: "tidewire.global" }],
  format: "iife",
  globalName: "tidewire",
});

if (isQuiet) process.exit();
for (const name of (await readdir(outdir)).filter((file) => file.endsWith(".js"))) {
  const code = await readFile(join(outdir, name));
  const kilobytes = (bytes) => `${(bytes / 1_000).toFixed(1)} kB`;
  console.log(
    `${basename(name)}: ${kilobytes(code.length)}, ${kilobytes(gzipSync(code, { level: 9 }).length)} gzip`,
  );
}
