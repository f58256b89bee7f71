/** A page of the test's own, bundled from source, with a backend beside it: tokens, and whatever the test adds. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { build } from "esbuild";
import { onTestFinished } from "vitest";
import { ROOT } from "./build.ts";
import { signToken } from "./service.ts";

export interface PageOptions {
  /** The script of the page, which imports from `./src/…`. */
  readonly script: string;
  readonly claims?: Record<string, unknown>;
  /** How long its tokens are valid. Default: an hour. */
  readonly tokenSeconds?: number;
  readonly html?: string | (() => Promise<string>);
  /** Other scripts, by their path. */
  readonly scripts?: Readonly<Record<string, string>>;
  /** Answers `POST` of a path with JSON. A thrown error is answered with 500. */
  readonly post?: Readonly<Record<string, (body: Record<string, unknown>) => Promise<unknown>>>;
}

/** Bundles a script that imports from the sources. */
export async function bundle(contents: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: ROOT, loader: "tsx", sourcefile: "page.tsx" },
    bundle: true,
    write: false,
    format: "iife",
    jsx: "automatic",
    define: {
      "process.env.NODE_ENV": '"production"',
      __VUE_OPTIONS_API__: "true",
      __VUE_PROD_DEVTOOLS__: "false",
    },
  });
  return outputFiles[0]?.text ?? "";
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text === "" ? {} : JSON.parse(text);
}

/** @returns The address of the page. It ends with the test. */
export async function servePage(options: PageOptions): Promise<string> {
  const { script, claims = { sub: "u1" }, html = '<div id="root"></div>', scripts = {}, post = {} } = options;
  const files = new Map([["/page.js", await bundle(script)]]);
  for (const [path, code] of Object.entries(scripts)) files.set(path, await bundle(code));
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const path = request.url?.split("?")[0] ?? "/";
    const send = (type: string, text: string) => response.setHeader("content-type", type).end(text);
    const handler = post[path];
    if (request.method === "POST" && handler !== undefined)
      return send("application/json", JSON.stringify(await handler(await bodyOf(request))));
    if (path === "/token") return send("text/plain", await signToken(claims, options.tokenSeconds));
    const file = files.get(path);
    if (file !== undefined) return send("text/javascript", file);
    if (path !== "/") return response.writeHead(404).end();
    const body = typeof html === "string" ? html : await html();
    return send(
      "text/html",
      `<!doctype html><link rel="icon" href="data:,">${body}<script src="/page.js"></script>`,
    );
  };
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}/`;
}
