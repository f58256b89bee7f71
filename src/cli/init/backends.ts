/** The token endpoints that `init` writes. */
import { htmlPage, nextPage } from "./page.ts";

/** The frameworks that `init` knows. */
export const BACKENDS = ["express", "fastify", "next"] as const;
export type Backend = (typeof BACKENDS)[number];

/** The files of a backend and its page, the packages that they need, and the command that runs them. */
export interface BackendFiles {
  readonly files: readonly { readonly path: string; readonly text: string }[];
  readonly packages: readonly string[];
  readonly run: string;
  /** The path of the page. */
  readonly page: string;
}

const USER_OF = `/**
 * Replace this by your own login: answer the id of the user of this request, or undefined.
 * Until then everybody is the user DEV_USER of .env, and nobody in production.
 */`;

const HEAD = `const { TIDEWIRE_JWT_SECRET, DEV_USER, NODE_ENV, PORT = "3000" } = process.env;
if (!TIDEWIRE_JWT_SECRET) throw new Error("TIDEWIRE_JWT_SECRET is not set: run with --env-file=.env");

${USER_OF}
function userOf(request) {
  return NODE_ENV === "production" ? undefined : DEV_USER;
}

const tokenFor = (user) =>
  jwt.sign({}, TIDEWIRE_JWT_SECRET, { subject: user, algorithm: "HS256", expiresIn: "15m" });
`;

const EXPRESS = `// The backend: it knows which user is logged in, and signs the token that names this user.
//   node --env-file=.env backend.mjs
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import express from "express";
import jwt from "jsonwebtoken";

${HEAD}
const app = express();
app.get("/token", (request, response) => {
  const user = userOf(request);
  response.set("cache-control", "no-store").type("text");
  if (user === undefined) response.status(401).send("not logged in");
  else response.send(tokenFor(user));
});

const tidewire = dirname(fileURLToPath(import.meta.resolve("tidewire/package.json")));
app.use("/tidewire", express.static(join(tidewire, "dist", "browser")));
app.use(express.static("public"));

app.listen(Number(PORT), "127.0.0.1", (error) => {
  if (error) throw error;
  console.log(\`http://127.0.0.1:\${PORT}\`);
});
`;

const FASTIFY = `// The backend: it knows which user is logged in, and signs the token that names this user.
//   node --env-file=.env backend.mjs
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import fastify from "fastify";
import jwt from "jsonwebtoken";

${HEAD}
const app = fastify();
app.get("/token", async (request, reply) => {
  const user = userOf(request);
  reply.header("cache-control", "no-store").type("text/plain");
  return user === undefined ? reply.code(401).send("not logged in") : reply.send(tokenFor(user));
});

const browser = join(dirname(fileURLToPath(import.meta.resolve("tidewire/package.json"))), "dist", "browser");
const files = { "/": [join("public", "index.html"), "text/html"] };
for (const name of await readdir(browser)) {
  if (name.endsWith(".js")) files[\`/tidewire/\${name}\`] = [join(browser, name), "text/javascript"];
}
for (const [path, [file, type]] of Object.entries(files)) {
  app.get(path, async (request, reply) => reply.type(type).send(await readFile(file)));
}

console.log(await app.listen({ port: Number(PORT), host: "127.0.0.1" }));
`;

const NEXT_ROUTE = `// GET /token: signs the token that names the user who is logged in.
import jwt from "jsonwebtoken";

${USER_OF}
function userOf(_request: Request): string | undefined {
  return process.env.NODE_ENV === "production" ? undefined : process.env.DEV_USER;
}

/** Each request gets a token of its own. */
export const dynamic = "force-dynamic";

export function GET(request: Request): Response {
  const secret = process.env.TIDEWIRE_JWT_SECRET;
  if (!secret) throw new Error("TIDEWIRE_JWT_SECRET is not set in .env");
  const headers = { "cache-control": "no-store", "content-type": "text/plain" };
  const user = userOf(request);
  if (user === undefined) return new Response("not logged in", { status: 401, headers });
  const token = jwt.sign({}, secret, { subject: user, algorithm: "HS256", expiresIn: "15m" });
  return new Response(token, { headers });
}
`;

/** The backend and the page for one collection.
 * @param appFolder The folder of Next's app router.
 */
export function backendFiles(backend: Backend, collection: string, appFolder: string): BackendFiles {
  if (backend === "next") {
    return {
      files: [
        { path: `${appFolder}/token/route.ts`, text: NEXT_ROUTE },
        { path: `${appFolder}/live/page.tsx`, text: nextPage(collection) },
      ],
      packages: ["tidewire", "jsonwebtoken", "@types/jsonwebtoken"],
      run: "npx next dev",
      page: "/live",
    };
  }
  return {
    files: [
      { path: "backend.mjs", text: backend === "express" ? EXPRESS : FASTIFY },
      { path: "public/index.html", text: htmlPage(collection) },
    ],
    packages: ["tidewire", backend, "jsonwebtoken"],
    run: "node --env-file=.env backend.mjs",
    page: "/",
  };
}
