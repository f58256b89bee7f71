/** The React bindings as a React Server Component imports them, from the built package. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { ROOT } from "../../support/build.ts";

test('the first line of the built React bindings is "use client"', async () => {
  const built = await readFile(join(ROOT, "dist", "react", "react.js"), "utf8");
  expect(built.split("\n")[0]).toBe('"use client";');
});

test("a server component imports the bindings as references, and the client as it is", async () => {
  const component = `
    import { createElement } from "react";
    import { createClient } from "tidewire/client";
    import { TidewireProvider, useLiveQuery, useTidewire } from "tidewire/react";
    const Page = () => createElement(TidewireProvider, { client: null }, "page");
    const { type } = Page();
    console.log(JSON.stringify([typeof createClient, String(type.$$typeof), type.$$id, useLiveQuery.$$id, useTidewire.$$id]));
  `;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [
      "--conditions=react-server",
      "--import",
      join(ROOT, "test", "support", "react-server.mjs"),
      "--input-type=module",
      "--eval",
      component,
    ],
    { cwd: ROOT },
  );
  expect(JSON.parse(stdout)).toEqual([
    "function",
    "Symbol(react.client.reference)",
    "TidewireProvider",
    "useLiveQuery",
    "useTidewire",
  ]);
});
