/** The code on the pages compiles against what is built, and every rule on them is one that the service takes. */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { compile } from "svelte/compiler";
import { expect, onTestFinished, test } from "vitest";
import { parse as parseSfc } from "vue/compiler-sfc";
import { parse as parseYaml, stringify } from "yaml";
import { importApp } from "../../../src/app-services/import-app.ts";
import { parseConfig } from "../../../src/config/config.ts";
import { ROOT } from "../../support/build.ts";
import { exportedApp } from "../../support/exported-app.ts";
import { type Block, blocksOf, blockUnder, guideFolder } from "../../support/guide.ts";
import { SECRET } from "../../support/service.ts";

const PAGES = [
  "clients.md",
  "writes.md",
  "start.md",
  "recipes.md",
  "moving/from-app-services.md",
  "moving/from-firestore.md",
  "moving/from-socketio.md",
];
const ENV = { TIDEWIRE_JWT_SECRET: SECRET };

/** The names that the pages' code expects from its surroundings. */
const AROUND = `
import type { Client } from "tidewire/client";
declare global {
  const client: Client;
  const url: string, userId: string;
  namespace JSX {
    type Element = import("react").JSX.Element;
  }
  const token: () => Promise<string>;
  const app: { use(plugin: unknown): void };
  const props: { status: "open" | "paid" };
  const render: (rows: readonly object[]) => void, badge: (text: string) => void, report: (code: string) => void;
  const api: { insertOrders(orders: unknown[]): Promise<{ operationTime: { t: number; i: number } }> };
  const List: (props: { orders: readonly Order[]; stale: boolean; error: unknown }) => null;
  /** Its types are a package of their own. */
  module "express";
  const Faces: (props: { users: readonly string[]; stale: boolean; error: unknown }) => null;
  interface Order { _id: string; status: "open" | "paid"; total: number; at: string }
}
`;

/** The old code on the pages about moving is of other libraries. */
const isOurs = ({ language, text }: Block) => language !== "js" || text.includes("tidewire/");

test("all code on the pages passes the compiler", async () => {
  const { folder, remove } = await guideFolder();
  onTestFinished(remove);
  const codes = PAGES.flatMap((page) =>
    blocksOf(page)
      .filter(isOurs)
      .flatMap(({ language, text }, index): [string, string][] => {
        const name = `${page.replaceAll("/", "-")}-${index}`;
        const code = language === "vue" ? (parseSfc(text).descriptor.scriptSetup?.content ?? "") : text;
        if (!["ts", "tsx", "js", "vue"].includes(language)) return [];
        return [[`${name}.${language === "vue" ? "ts" : language}`, `${code}\nexport {};\n`]];
      }),
  );
  expect(codes.length).toBeGreaterThan(20);
  await writeFile(join(folder, "around.d.ts"), AROUND);
  for (const [name, code] of codes) await writeFile(join(folder, name), code);
  const compilerOptions = {
    noEmit: true,
    rootDir: ROOT,
    lib: ["ES2023", "DOM", "DOM.Iterable"],
    types: ["node", "react"],
    jsx: "react-jsx",
    allowJs: true,
    checkJs: true,
    noUnusedLocals: false,
    noPropertyAccessFromIndexSignature: false,
  };
  const config = { extends: join(ROOT, "tsconfig.json"), compilerOptions, include: ["."], exclude: [] };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify(config));
  const tsc = join(ROOT, "node_modules", ".bin", "tsc");
  const { stdout } = await promisify(execFile)(tsc, ["-p", folder]).catch((error) => error);
  expect(stdout).toBe("");
});

test("the Svelte components on the pages compile", () => {
  const components = PAGES.flatMap(blocksOf).filter(({ language }) => language === "svelte");
  expect(components.length).toBeGreaterThan(1);
  for (const { text } of components) expect(compile(text, {}).warnings).toEqual([]);
});

test.each(
  PAGES.flatMap((page) => blocksOf(page).map((block) => ({ page, ...block }))).filter(
    ({ language }) => language === "yaml",
  ),
)("the configuration on $page under $heading is one that the service takes", ({ page, text }) => {
  const rest = text.includes("mongodb:")
    ? ""
    : stringify({ mongodb: { database: "shop" }, auth: { jwt: { algorithms: ["HS256"], secret: SECRET } } });
  const parsed = parseConfig(`${rest}${text}`, page, ENV);
  expect(parsed.ok ? [] : parsed.problems).toEqual([]);
});

test("the roles on the page about App Services become the rules that it shows", async () => {
  const page = "moving/from-app-services.md";
  const folder = await exportedApp({
    "data_sources/atlas/shop/orders/rules.json": blockUnder(page, "The command", "json"),
    "data_sources/atlas/shop/logs/rules.json": {
      roles: [{ name: "f", apply_when: { "%%true": { "%function": { name: "f" } } }, read: true }],
    },
  });
  const { config, problems } = await importApp(folder);
  const { collections } = parseYaml(config ?? "");
  expect({ collections }).toEqual(parseYaml(blockUnder(page, "The command", "yaml")));
  const told = problems.map(({ file, at, message }) => `${file}: ${at}: ${message}\n`);
  expect(told.join("")).toBe(blockUnder(page, "It never gives more", "text"));
});
