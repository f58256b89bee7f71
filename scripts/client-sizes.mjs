/**
 * Prints what each entry of the client adds to a page, minified and gzipped.
 *   node scripts/client-sizes.mjs      (after npm run build)
 * The first line is the core. Every other entry is measured without the modules of the core, and without frameworks.
 * The bindings of a framework are measured without each other.
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

const core = entries.find(({ name }) => name === ".");
const { bytes, files } = await measure(core, new Set());
const print = ({ full }, size) => console.log(`${full}: ${(size / 1_000).toFixed(1)} kB`);
print(core, bytes);
const measured = new Map();
// Entries in the folder of the client come first, because the bindings of frameworks contain them.
const others = entries.filter((entry) => entry !== core);
for (const entry of others) {
  const isBinding = !entry.path.startsWith("client/");
  const own = isBinding
    ? [
        ...files,
        ...others.filter(({ path }) => path.startsWith("client/")).flatMap((one) => measured.get(one) ?? []),
      ]
    : files;
  const result = await measure(entry, new Set(own.filter((file) => file !== fileOf(entry))));
  measured.set(entry, result.files);
  print(entry, result.bytes);
}
