import { parseDocument, stringify } from "yaml";

/**
 * The rules of a configuration alone. Its other sections may name variables of the environment, which the tests of rules
 * do not need.
 * @returns The text as it is, if it has no such section.
 */
export function collectionsText(text: string): string {
  const value: unknown = parseDocument(text, { merge: true, logLevel: "silent" }).toJS({
    maxAliasCount: 100,
  });
  const isConfiguration = typeof value === "object" && value !== null && "collections" in value;
  return isConfiguration ? stringify({ collections: value.collections }, { lineWidth: 0 }) : text;
}
