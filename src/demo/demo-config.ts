import { readFile, writeFile } from "node:fs/promises";
import { dirname, relative } from "node:path";
import { fileURLToPath } from "node:url";

/** The configuration of the demo, with the rules at the start of every run. */
export const DEMO_CONFIG = fileURLToPath(new URL("../../config/demo.yaml", import.meta.url));
const SCHEMA_NAME = "./tidewire.schema.json";

/** The section with the rules is the last one of the file. */
const RULES_KEY = "\ncollections:\n";
/** Replaces that section in the configuration of the service. */
const IN_DATABASE = `
rules:
  # Edited on the demo's page, in the console, and with tidewire rules push.
  from: database
`;

/** The configuration of the service: that of the demo, with its rules in the database. */
export async function writeServiceConfig(file: string): Promise<void> {
  const [head] = await demoParts();
  const schema = fileURLToPath(new URL(SCHEMA_NAME, new URL("../../config/", import.meta.url)));
  // Editors resolve the schema's path relative to the copy.
  await writeFile(file, head.replace(SCHEMA_NAME, relative(dirname(file), schema)) + IN_DATABASE);
}

/** The rules at the start of every run, as the text of a rule set. */
export const demoRules = async (): Promise<string> => (await demoParts())[1];

async function demoParts(): Promise<[head: string, rules: string]> {
  const text = await readFile(DEMO_CONFIG, "utf8");
  const at = text.lastIndexOf(RULES_KEY);
  return [text.slice(0, at), text.slice(at + 1)];
}
