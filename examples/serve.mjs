/**
 * Serves a page among the examples, and does what is your backend's part: it writes orders with the ordinary
 * driver, and hands out tokens. Tidewire's part is in the page.
 *   node examples/serve.mjs react          or: vue, push, webrtc, script-tag
 *
 * --port N           where it listens (default 5173, which config/tidewire.yaml lets connect)
 * --token-life TIME  how long a token is good (default 5m)
 * --database NAME    where the orders are (default shop, as in config/tidewire.yaml)
 * MONGODB_URI, TIDEWIRE_JWT_SECRET   as for the service
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import jwt from "jsonwebtoken";
import { MongoClient } from "mongodb";

const root = new URL("..", import.meta.url).pathname;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: "string", default: "5173" },
    "token-life": { type: "string", default: "5m" },
    database: { type: "string", default: "shop" },
  },
});
const { MONGODB_URI, TIDEWIRE_JWT_SECRET } = process.env;
const [example = ""] = positionals;
const folder = join(root, "examples", example);
if (!existsSync(join(folder, "index.html")))
  throw new Error("say which example: react, vue, push, webrtc or script-tag");
if (!MONGODB_URI || !TIDEWIRE_JWT_SECRET) throw new Error("set MONGODB_URI and TIDEWIRE_JWT_SECRET");

const db = new MongoClient(MONGODB_URI).db(values.database);
const orders = db.collection("orders");

const files = new Map([
  ["/", ["text/html", await readFile(join(folder, "index.html"))]],
  ["/style.css", ["text/css", await readFile(join(root, "examples", "style.css"))]],
  ["/tidewire.js", ["text/javascript", await readFile(join(root, "dist/browser/tidewire.global.js"))]],
]);
const main = ["main.tsx", "main.ts"].map((name) => join(folder, name)).find(existsSync);
if (main !== undefined) files.set("/main.js", ["text/javascript", await bundle(main)]);
for (const [name, type] of [
  ["sw.js", "text/javascript"],
  ["page.css", "text/css"],
]) {
  const file = join(folder, name);
  if (existsSync(file)) files.set(`/${name}`, [type, await readFile(file)]);
}

/** As any bundler does it; `tidewire` is found as in a project that has it installed. */
async function bundle(entry) {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"development"', __VUE_OPTIONS_API__: "false" },
  });
  return outputFiles[0].contents;
}

/** The endpoints of the backend. A real backend authenticates the user; this one trusts the name in the request. */
const actions = {
  "/token": async ({ user }) => {
    const options = { algorithm: "HS256", subject: user, expiresIn: values["token-life"] };
    return { token: jwt.sign({}, TIDEWIRE_JWT_SECRET, options) };
  },
  "/order": async ({ user, item }) => {
    const order = { customerId: user, item, status: "open", margin: 1, at: new Date() };
    return { id: (await orders.insertOne(order)).insertedId };
  },
  "/send": async ({ user, item }) => {
    await orders.updateOne({ customerId: user, item, status: "open" }, { $set: { status: "sent" } });
    return {};
  },
};

/** The endpoints that one example alone needs. */
const backend = join(folder, "backend.mjs");
if (existsSync(backend)) Object.assign(actions, await (await import(backend)).actions(db));

const server = createServer(async (request, response) => {
  const file = request.method === "GET" ? files.get(request.url.split("?")[0]) : undefined;
  const action = request.method === "POST" ? actions[request.url] : undefined;
  if (file !== undefined) {
    const [type, body] = file;
    response
      .writeHead(200, { "content-type": `${type}; charset=utf-8`, "cache-control": "no-store" })
      .end(body);
  } else if (action !== undefined) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    try {
      const answer = await action(JSON.parse(Buffer.concat(chunks).toString()));
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
    } catch (error) {
      response.writeHead(400).end(error.message);
    }
  } else response.writeHead(404).end();
});
server.listen(Number(values.port), "localhost", () => {
  console.log(`http://localhost:${server.address().port}`);
});
