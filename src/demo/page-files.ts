import { readdir, readFile } from "node:fs/promises";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

/** One file of the page, held in memory: they are few and small. */
export interface PageFile {
  readonly type: string;
  readonly bytes: Buffer;
}

const PAGE = fileURLToPath(new URL("page/", import.meta.url));
/** The client as pages without a build step get it. */
const CLIENT = fileURLToPath(new URL("../browser/", import.meta.url));

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
};

/**
 * The page and all files that it loads, by path. Empty if the page was not built: the demo works without it.
 * @see scripts/bundle-demo.mjs
 */
export async function readPageFiles(): Promise<ReadonlyMap<string, PageFile>> {
  const files = new Map<string, PageFile>();
  for (const [prefix, directory] of [
    ["/demo/", PAGE],
    ["/demo/client/", CLIENT],
  ] as const) {
    for (const name of await namesIn(directory)) {
      const type = TYPES[extname(name)];
      if (type !== undefined) files.set(prefix + name, { type, bytes: await readFile(directory + name) });
    }
  }
  const page = files.get("/demo/index.html");
  if (page === undefined) return new Map();
  return files.set("/demo", page).set("/demo/", page);
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
