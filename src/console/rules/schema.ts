import schema from "../../../config/tidewire.schema.json" with { type: "json" };

/** The keywords of the JSON schema of the configuration that completion reads. */
export interface SchemaNode {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: SchemaNode | boolean;
  readonly items?: SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
}

/** The JSON schema of the configuration. `npm run generate` writes it. */
export const SCHEMA = schema as SchemaNode;

/** The schemas that may apply at a path: several where the schema has alternatives. */
export function schemasAt(root: SchemaNode, path: readonly (string | number)[]): readonly SchemaNode[] {
  let nodes: readonly SchemaNode[] = alternatives(root);
  for (const step of path) nodes = nodes.flatMap((node) => childrenOf(node, step)).flatMap(alternatives);
  return nodes;
}

const alternatives = (node: SchemaNode): readonly SchemaNode[] => [
  node,
  ...(node.anyOf ?? []).flatMap(alternatives),
];

function childrenOf(node: SchemaNode, step: string | number): readonly SchemaNode[] {
  if (typeof step === "number") return node.items === undefined ? [] : [node.items];
  const named = node.properties?.[step];
  if (named !== undefined) return [named];
  return typeof node.additionalProperties === "object" ? [node.additionalProperties] : [];
}
