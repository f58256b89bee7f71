import { readdir, readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

/** One file of the console in both forms. They are few and small, so they stay in memory. */
interface ConsoleFile {
  readonly type: string;
  readonly cacheControl: string;
  readonly bytes: Buffer;
  readonly gzipped: Buffer;
}

const CONSOLE = fileURLToPath(new URL("../console/", import.meta.url));

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
};

/** The names of assets contain a hash of their content. The page names the assets, so it must be current. */
const CACHE = { page: "no-cache", asset: "public, max-age=31536000, immutable" } as const;

const compress = promisify(gzip);

/** The page of the console and its assets, read at the first request. After a failure the next request reads them again. */
export class ConsoleFiles {
  readonly #directory: string;
  #files: Promise<ReadonlyMap<string, ConsoleFile>> | null = null;

  /** @param directory Ends with a separator. */
  constructor(directory: string = CONSOLE) {
    this.#directory = directory;
  }

  /** @returns `false` if this is not a path of the console, or the console was not built. */
  async answer(path: string, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    this.#files ??= this.#read().catch((error: unknown) => {
      this.#files = null;
      throw error;
    });
    const file = (await this.#files).get(path);
    if (file === undefined) return false;
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.writeHead(405, { allow: "GET, HEAD", "content-length": 0 }).end();
      return true;
    }
    const isGzip = /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""));
    const body = isGzip ? file.gzipped : file.bytes;
    response.writeHead(200, {
      "content-type": file.type,
      "content-length": body.length,
      "cache-control": file.cacheControl,
      vary: "accept-encoding",
      ...(isGzip ? { "content-encoding": "gzip" } : {}),
    });
    response.end(request.method === "HEAD" ? undefined : body);
    return true;
  }

  async #read(): Promise<ReadonlyMap<string, ConsoleFile>> {
    const files = new Map<string, ConsoleFile>();
    const add = async (path: string, file: string, cacheControl: string) => {
      const type = TYPES[extname(file)];
      if (type === undefined) return;
      const bytes = await readFile(this.#directory + file);
      files.set(path, { type, cacheControl, bytes, gzipped: await compress(bytes) });
    };
    const assets = await namesIn(`${this.#directory}assets/`);
    if (assets.length === 0) return files;
    await add("/", "index.html", CACHE.page);
    for (const name of assets) await add(`/assets/${name}`, `assets/${name}`, CACHE.asset);
    return files;
  }
}

/** None if the console was not built: the API works without it. */
async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
