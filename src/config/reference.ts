import { z } from "zod";
import { ConfigSchema } from "./config-schema.ts";
import { allowedText } from "./issue-text.ts";
import { fileShape, toFileText, unwrap } from "./schema-walk.ts";
import { DURATION, SIZE } from "./units.ts";

const INTRODUCTION = `# Configuration

<!-- Written by scripts/generate.mjs from the schemas beside the code; edit those. -->

One file, YAML or JSON, by default \`config/tidewire.yaml\`. It is read whole: \`tidewire check\` tells every mistake at
once, with its line and what to write instead, and the service does not start with one. Editors complete and check it
with [config/tidewire.schema.json](../config/tidewire.schema.json); [config/tidewire.yaml](../config/tidewire.yaml) is
an example with comments.

- \`\${NAME}\` and \`\${NAME:-default}\` take environment variables, in texts only; \`$\${\` stands for the characters themselves.
- A duration is ${DURATION.words.replace("a duration in ", "")}; a size is ${SIZE.words.replace("a size in ", "")}.
- Relative paths begin at the folder of the file.
- While the service runs, a saved edit of \`collections\` takes effect at once; a mistake changes nothing and is logged.
  Everything else needs a restart, and the log says so.
`;

/** The reference of all options, as Markdown (docs/configuration.md). */
export function configReference(): string {
  const sections = [...fileShape(ConfigSchema)].map(([name, { schema }]) => {
    const rows = optionRows(schema, "");
    return `## ${name}

${descriptionOf(schema)}

| option | default | takes | what it does |
| --- | --- | --- | --- |
${rows.map((cells) => `| ${cells.map(escapeBars).join(" | ")} |`).join("\n")}
`;
  });
  return [INTRODUCTION, ...sections].join("\n");
}

/** The options of a map, those of the maps in it after their own line. */
function optionRows(schema: z.core.$ZodType, prefix: string): string[][] {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodRecord) {
    // A filter is a map, too, but of no options of ours.
    if (inner.valueType instanceof z.ZodUnknown) return [];
    return optionRows(inner.valueType, `${prefix}NAME.`);
  }
  if (inner instanceof z.ZodArray) return optionRows(inner.element, `${prefix.slice(0, -1)}[].`);
  if (!(inner instanceof z.ZodObject)) return [];
  return [...fileShape(inner)].flatMap(([key, { codeKey, schema: option }]) => [
    [`\`${prefix}${key}\``, defaultText(option, codeKey), takesText(option, codeKey), descriptionOf(option)],
    ...optionRows(option, `${prefix}${key}.`),
  ]);
}

function defaultText(schema: z.core.$ZodType, codeKey: string): string {
  if (schema instanceof z.ZodDefault) return `\`${toFileText(codeKey, schema.def.defaultValue)}\``;
  if (schema instanceof z.ZodOptional) return "unset";
  return schema instanceof z.ZodPrefault ? "as below" : "must be set";
}

/** Where a type does not say enough, an example does. */
function takesText(schema: z.core.$ZodType, codeKey: string): string {
  const inner = unwrap(schema);
  const examples = z.globalRegistry.get(schema)?.["examples"] ?? z.globalRegistry.get(inner)?.["examples"];
  const [example] = Array.isArray(examples) ? examples : [];
  const such = example === undefined ? "" : `, such as \`${toFileText(codeKey, example)}\``;
  const listOf = inner instanceof z.ZodArray ? unwrap(inner.element) : undefined;
  if (listOf instanceof z.ZodEnum) return `a list of ${listOf.options.join(", ")}`;
  if (listOf !== undefined) return `a list${such}`;
  if (inner instanceof z.ZodUnion && inner.options.some((option) => unwrap(option) instanceof z.ZodArray))
    return `a text, or a list of texts${such}`;
  // What durations and sizes look like is told once, at the top of the page.
  const allowed = allowedText(schema, codeKey)
    .replace(DURATION.words, "a duration")
    .replace(SIZE.words, "a size")
    .replace(", not empty", "");
  return `${allowed}${such}`;
}

const descriptionOf = (schema: z.core.$ZodType): string => z.globalRegistry.get(schema)?.description ?? "";

/** A bar would end the cell. */
const escapeBars = (cell: string) => cell.replaceAll("|", "\\|");
