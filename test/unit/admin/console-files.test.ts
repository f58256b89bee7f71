/** The files of the console: how browsers may keep them, and what has no answer. */
import { once } from "node:events";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ConsoleFiles } from "../../../src/admin/console-files.ts";

async function serve(isBuilt = true): Promise<string> {
  return (await start(isBuilt)).url;
}

async function start(isBuilt = true) {
  const directory = await mkdtemp(join(tmpdir(), "tidewire-console-"));
  if (isBuilt) {
    await mkdir(join(directory, "assets"));
    await writeFile(join(directory, "index.html"), "<!doctype html>");
    await writeFile(join(directory, "assets", "main-HASH.js"), "export const a = 1;\n".repeat(100));
    await writeFile(join(directory, "assets", "main-HASH.js.map"), "{}");
    await writeFile(join(directory, "licences.txt"), "MIT");
  }
  const files = new ConsoleFiles(`${directory}/`);
  const server = createServer(async (request, response) => {
    const path = (request.url ?? "").split("?")[0] ?? "";
    const isAnswered = await files.answer(path, request, response).catch(() => null);
    if (isAnswered !== true) response.writeHead(isAnswered === null ? 500 : 404).end();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await rm(directory, { recursive: true });
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    directory,
  };
}

test("browsers ask for the page each time, and keep assets, whose names change with their content", async () => {
  const url = await serve();
  const page = await fetch(`${url}/`);
  expect([page.status, page.headers.get("cache-control")]).toEqual([200, "no-cache"]);
  expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
  const asset = await fetch(`${url}/assets/main-HASH.js?x=1`);
  expect(asset.headers.get("cache-control")).toBe("public, max-age=31536000, immutable");
  expect(asset.headers.get("content-type")).toBe("text/javascript; charset=utf-8");
});

test("an asset is compressed for those who can read it", async () => {
  const url = `${await serve()}/assets/main-HASH.js`;
  const packed = await fetch(url, { headers: { "accept-encoding": "gzip" } });
  const plain = await fetch(url, { headers: { "accept-encoding": "identity" } });
  expect(packed.headers.get("content-encoding")).toBe("gzip");
  expect(plain.headers.get("content-encoding")).toBeNull();
  expect(await packed.text()).toBe(await plain.text());
  expect(Number(packed.headers.get("content-length"))).toBeLessThan(
    Number(plain.headers.get("content-length")),
  );
});

test.each([
  "/index.html",
  "/assets/",
  "/assets/../index.html",
  "/assets/main-HASH.js.map",
  "/licences.txt",
  "/x",
])("there is nothing at %s", async (path) => expect((await fetch((await serve()) + path)).status).toBe(404));

test("only reading is possible", async () => {
  const url = await serve();
  expect((await fetch(`${url}/`, { method: "POST" })).status).toBe(405);
  const head = await fetch(`${url}/`, { method: "HEAD" });
  expect([head.status, await head.text()]).toEqual([200, ""]);
});

test("without a build there is no console", async () =>
  expect((await fetch(`${await serve(false)}/`)).status).toBe(404));

test("files that could not be read are read again", async () => {
  const { url, directory } = await start();
  await rename(join(directory, "index.html"), join(directory, "away.html"));
  expect((await fetch(`${url}/`)).status).toBe(500);
  await rename(join(directory, "away.html"), join(directory, "index.html"));
  expect((await fetch(`${url}/`)).status).toBe(200);
});
