/**
 * Loads modules as a framework does on its server (Next.js, React Router): React without its client parts, and a module that
 * begins with "use client" as references to its exports. Preload it with `--conditions=react-server --import`.
 */
import { readFile } from "node:fs/promises";
import { register } from "node:module";
import { fileURLToPath } from "node:url";

// The thread of the hooks loads this module once more, under an address of its own.
if (!import.meta.url.endsWith("?hooks")) register(`${import.meta.url}?hooks`);

/** @type {import("node:module").LoadHook} */
export async function load(url, context, nextLoad) {
  if (!url.startsWith("file:") || !url.endsWith(".js")) return nextLoad(url, context);
  const source = await readFile(fileURLToPath(url), "utf8");
  if (!/^["']use client["'];?\n/.test(source)) return nextLoad(url, context);
  const names = [...source.matchAll(/^export (?:async )?(?:function|const|class) (\w+)/gm)].map(
    (match) => match[1],
  );
  const reference = (name) =>
    `export const ${name} = Object.assign(() => { throw new Error("${name} runs in the browser only"); }, ` +
    `{ $$typeof: Symbol.for("react.client.reference"), $$id: "${name}" });`;
  return { format: "module", source: names.map(reference).join("\n"), shortCircuit: true };
}
