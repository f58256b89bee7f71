import { readFile, writeFile } from "node:fs/promises";
import { dirname, relative } from "node:path";
import { fileURLToPath } from "node:url";

/** The configuration at the start of every run. */
export const DEMO_CONFIG = fileURLToPath(new URL("../../config/demo.yaml", import.meta.url));
const SCHEMA_NAME = "./tidewire.schema.json";

/** A copy of the demo's configuration, which may be edited while it runs. */
export async function copyDemoConfig(file: string): Promise<void> {
  const text = await readFile(DEMO_CONFIG, "utf8");
  const schema = fileURLToPath(new URL(SCHEMA_NAME, new URL("../../config/", import.meta.url)));
  // Editors resolve the schema's path relative to the copy.
  await writeFile(file, text.replace(SCHEMA_NAME, relative(dirname(file), schema)));
}
