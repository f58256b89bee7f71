import type { CompletionContext, CompletionResult } from "@codemirror/autocomplete";
import { SCHEMA, type SchemaNode, schemasAt } from "./schema.ts";
import { yamlPositionAt } from "./yaml-path.ts";

/** An option, or a value of one. */
export interface Proposal {
  readonly label: string;
  readonly detail: string;
  readonly info: string;
}

/** The options that the schema allows at the end of a text, or the values of the option there. */
export function proposalsAt(before: string, root: SchemaNode = SCHEMA): readonly Proposal[] {
  const { path, isKey, key } = yamlPositionAt(before);
  if (isKey) {
    const options = schemasAt(root, path).flatMap(({ properties }) => Object.entries(properties ?? {}));
    return options.map(([label, node]) => ({ label, detail: node.type ?? "", info: infoOf(node) }));
  }
  if (key === null) return [];
  return schemasAt(root, [...path, key]).flatMap((node) => valuesOf(node));
}

function valuesOf({ type, enum: values, description = "" }: SchemaNode): Proposal[] {
  const all = values ?? (type === "boolean" ? [true, false] : []);
  return all.map((value) => ({ label: String(value), detail: "", info: description }));
}

function infoOf({ description = "", default: value }: SchemaNode): string {
  return value === undefined ? description : `${description} Default: ${JSON.stringify(value)}.`;
}

const WORD = /[\w.-]*$/;

/** The completion of CodeMirror, from the JSON schema of the configuration. */
export function completeYaml({ state, pos, explicit }: CompletionContext): CompletionResult | null {
  const before = state.sliceDoc(0, pos);
  const word = WORD.exec(before)?.[0] ?? "";
  if (word === "" && !explicit) return null;
  const start = before.slice(0, before.length - word.length);
  const proposals = proposalsAt(start);
  if (proposals.length === 0) return null;
  const isKey = yamlPositionAt(start).isKey;
  return {
    from: pos - word.length,
    options: proposals.map(({ label, detail, info }) => ({
      label,
      detail,
      info,
      apply: isKey ? `${label}: ` : label,
    })),
    validFor: /^[\w.-]*$/,
  };
}
