/** An exported app of App Services in a folder of its own, and the result of its import. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import { type ImportOptions, importApp } from "../../src/app-services/import-app.ts";
import { parseConfig } from "../../src/config/config.ts";

const ENV = { MONGODB_URI: "mongodb://127.0.0.1:1/?replicaSet=rs0", TIDEWIRE_JWT_SECRET: "x".repeat(32) };

/** @param files Their paths in the folder and what is in them. */
export async function exportedApp(files: Readonly<Record<string, unknown>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-app-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  return folder;
}

/** The rules of `shop.orders` alone: the converted rules, and the reported problems. */
export async function importRules(
  rules: Readonly<Record<string, unknown>>,
  options: ImportOptions = {},
  files: Readonly<Record<string, unknown>> = {},
) {
  const folder = await exportedApp({
    "data_sources/mongodb-atlas/config.json": { name: "mongodb-atlas", type: "mongodb-atlas" },
    "data_sources/mongodb-atlas/shop/orders/rules.json": rules,
    ...files,
  });
  const { config: text, problems, claims } = await importApp(folder, options);
  const parsed = text === undefined ? undefined : parseConfig(text, "imported.yaml", ENV);
  if (parsed?.ok === false) throw new Error(JSON.stringify(parsed.problems));
  const config = parsed?.config;
  return {
    config,
    claims,
    rules: (config?.collections["orders"]?.rules ?? []).map(({ name, when, filter, fields }) => ({
      name,
      ...(when && { when }),
      ...(filter && { filter }),
      ...(fields && { fields }),
    })),
    told: problems.map(({ at, message }) => `${at}: ${message}`),
  };
}
