/**
 * Bundles the client for pages without a build step, and prints what it weighs.
 *   node scripts/bundle-client.mjs [directory]     (default: dist/browser; prints nothing with --quiet)
 * tidewire.js         an ES module; what few pages need is in files beside it, which it fetches when that is needed
 * presence.js         presence, as a module of its own beside tidewire.js
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
  abandoned accepted acquire advance answered askAll asked asking attempted becameReady begin companion delayMs disconnected
  failed forget greeting hasEnded hasToken heard isCurrent isDraining isNeeded isOpen isReady isUsed kinds lastError later
  lay listen momentWithin nextDelayMs note onEnded onHidden ownError pauseMs prune refusals renewed rest
  restore resumeFailed resumePoint resumed resuming rightsMoved serves startOver stateOf takenOver trace upgradeMs views
  waitAtLeast wasEarly wasTooEarly watchers welcomed withNewToken
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
/** Features that few pages use. */
const FETCHED_WHEN_NEEDED = [
  "change-queue",
  "fences",
  "http-transport",
  "persistence",
  "transport-choice",
  "warnings",
];
/**
 * Features that few pages use are files of their own, which repeat the little that both need: a shared chunk would be one more
 * file for everybody to fetch, before anything else can begin. Errors are not repeated, because an application compares their class.
 */
const fetchedWhenNeeded = {
  name: "fetched-when-needed",
  setup({ onResolve }) {
    onResolve({ filter: /\.ts$/ }, ({ kind, path }) =>
      kind === "dynamic-import" ? { path: path.replace(/\.ts$/, ".js"), external: true } : undefined,
    );
    onResolve({ filter: /\/protocol\/errors\.ts$/ }, ({ importer }) =>
      FETCHED_WHEN_NEEDED.includes(basename(importer, ".ts"))
        ? { path: "./tidewire.js", external: true }
        : undefined,
    );
  },
};
await build({
  ...common,
  entryPoints: [
    { in: entry, out: "tidewire" },
    ...FETCHED_WHEN_NEEDED.map((name) => ({ in: join(root, "src", "client", `${name}.ts`), out: name })),
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
