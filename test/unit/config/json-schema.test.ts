// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseConfig } from "../../../src/config/config.ts";
import { configJsonSchema } from "../../../src/config/json-schema.ts";
import { ROOT } from "../../support/build.ts";

const read = (name: string) => readFileSync(join(ROOT, "config", name), "utf8");

/** The schema of an option, by the keys of the file. */
function optionOf(path: string): unknown {
  return path
    .split(".")
    .reduce<unknown>(
      (node, key) => (node as Record<string, Record<string, unknown>>)["properties"]?.[key],
      configJsonSchema(),
    );
}

test("the published schema is current (if not: tidewire check --schema > config/tidewire.schema.json)", () => {
  expect(JSON.parse(read("tidewire.schema.json"))).toEqual(JSON.parse(JSON.stringify(configJsonSchema())));
});

test("durations and sizes are texts under the file's names, with the file's defaults", () => {
  expect(optionOf("server.heartbeat")).toMatchObject({ type: "string", default: "25s" });
  expect(optionOf("server.heartbeatMs")).toBeUndefined();
  expect(optionOf("limits.messageBytes")).toMatchObject({ type: "string", default: "64KiB" });
  expect(optionOf("history.window")).toMatchObject({ default: "5m" });
});

test("every option has a description", () => {
  const without: string[] = [];
  const walk = (node: unknown, path: string) => {
    const { properties } = (node ?? {}) as { properties?: Record<string, { description?: string }> };
    for (const [key, option] of Object.entries(properties ?? {})) {
      if (option.description === undefined) without.push(`${path}${key}`);
      walk(option, `${path}${key}.`);
    }
  };
  walk(configJsonSchema(), "");
  expect(without).toEqual([]);
});

test("an environment variable may stand where a text of a certain form is expected", () => {
  const { pattern } = optionOf("mongodb.uri") as { pattern: string };
  expect("${MONGODB_URI:-embedded}").toMatch(new RegExp(pattern));
  expect("http://x").not.toMatch(new RegExp(pattern));
});

test("the example configuration is right", () => {
  const parsed = parseConfig(read("tidewire.yaml"), "tidewire.yaml", { TIDEWIRE_JWT_SECRET: "x".repeat(32) });
  expect(parsed).toMatchObject({ ok: true });
});
