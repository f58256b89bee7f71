/**
 * Prints what each entry of the client adds to a page, minified and gzipped.
 *   node scripts/client-sizes.mjs      (after npm run build)
 * The first lines are the client with all parts, and its core alone. The parts are measured without the modules of the core, and
 * every other entry without those of the whole client, and without frameworks. The bindings of a framework are measured
 * without each other.
 */
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { clientEntries } from "./client-entries.mjs";

const root = new URL("..", import.meta.url).pathname;
const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
const entries = clientEntries(manifest);
const fileOf = ({ path }) => join(root, "dist", `${path}.js`);

/** The size of an entry, and the files in it. */
async function measure(entry, without) {
  const { outputFiles, metafile } = await build({
    entryPoints: [fileOf(entry)],
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    absWorkingDir: root,
    format: "esm",
    target: "es2022",
    external: ["react", "vue", "@tanstack/db"],
    plugins: [
      {
        name: "without",
        setup({ onResolve }) {
          onResolve({ filter: /^\./ }, ({ path, resolveDir, kind }) => {
            const isElsewhere = kind === "dynamic-import" || without.has(resolve(resolveDir, path));
            return isElsewhere ? { path, external: true } : undefined;
          });
        },
      },
    ],
  });
  const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  return { bytes, files: Object.keys(metafile.inputs).map((file) => resolve(root, file)) };
}

const print = ({ full }, size) => console.log(`${full}: ${(size / 1_000).toFixed(1)} kB`);
const named = (wanted) => entries.find(({ name }) => name === wanted);
const [whole, core] = [named("."), named("./core")];
const { bytes, files } = await measure(whole, new Set());
print(whole, bytes);
const { bytes: coreBytes, files: coreFiles } = await measure(core, new Set());
print(core, coreBytes);
const measured = new Map();
// Entries in the folder of the client come first, because the bindings of frameworks contain them.
const others = entries.filter((entry) => entry !== whole && entry !== core);
for (const entry of others) {
  const isBinding = !entry.path.startsWith("client/");
  const isPart = entry.path.startsWith("client/parts/");
  const own = isBinding
    ? [
        ...files,
        ...others.filter(({ path }) => path.startsWith("client/")).flatMap((one) => measured.get(one) ?? []),
      ]
    : isPart
      ? coreFiles
      : files;
  const result = await measure(entry, new Set(own.filter((file) => file !== fileOf(entry))));
  measured.set(entry, result.files);
  print(entry, result.bytes);
}
