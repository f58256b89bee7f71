import { z } from "zod";
import { ConfigSchema } from "./config-schema.ts";
import { allowedText } from "./issue-text.ts";
import { fileShape, isOneOrMore, toFileText, unwrap } from "./schema-walk.ts";
import { DURATION, SIZE } from "./units.ts";

const INTRODUCTION = `# Configuration

<!-- Written by scripts/generate.mjs from the schemas beside the code; edit those. -->

This page is for admins. The configuration is one file, YAML or JSON, by default \`config/tidewire.yaml\`. The service reads the
whole file: \`tidewire check\` reports every mistake at once, with its line and the correction, and the service does not start with a
mistake. Editors complete and check the file with [config/tidewire.schema.json](../config/tidewire.schema.json).
[config/tidewire.yaml](../config/tidewire.yaml) is an example with comments.

- \`\${NAME}\` and \`\${NAME:-default}\` insert environment variables, in strings only. \`$\${\` inserts the two characters \`\${\`.
  Every command but \`demo\` also reads the variables of a file \`.env\` in the working directory; a variable that is set already prevails.
- \`x-\` keys at the top of the file mean nothing to the service, and merge keys (\`<<: *name\`) work, as Compose has them.
- A duration is ${DURATION.words.replace("a duration in ", "")}. A size is ${SIZE.words.replace("a size in ", "")}.
- Relative paths begin at the folder of the file.
- While the service runs, a saved edit of \`collections\` takes effect at once. A mistake changes nothing and is logged.
  Everything else needs a restart, and the log says so.
`;

/** The reference of all options, as Markdown (docs/configuration.md). */
export function configReference(): string {
  const sections = [...fileShape(ConfigSchema)].map(([name, { schema }]) => {
    const rows = optionRows(schema, "");
    return `## ${name}

${descriptionOf(schema)}

| option | default | type | meaning |
| --- | --- | --- | --- |
${rows.map((cells) => `| ${cells.map(escapeBars).join(" | ")} |`).join("\n")}
`;
  });
  return [INTRODUCTION, ...sections].join("\n");
}

/** The options of a map. The options of a nested map follow its own line. */
function optionRows(schema: z.core.$ZodType, prefix: string): string[][] {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodRecord) {
    // A filter is a map, too, but its keys are not options.
    if (inner.valueType instanceof z.ZodUnknown) return [];
    return optionRows(inner.valueType, `${prefix}NAME.`);
  }
  if (isOneOrMore(inner)) return optionRows(inner.element, prefix);
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

/** The type of an option, with an example if it has one. */
function takesText(schema: z.core.$ZodType, codeKey: string): string {
  const inner = unwrap(schema);
  const examples = z.globalRegistry.get(schema)?.["examples"] ?? z.globalRegistry.get(inner)?.["examples"];
  const [example] = Array.isArray(examples) ? examples : [];
  const such = example === undefined ? "" : `, such as \`${toFileText(codeKey, example)}\``;
  const listOf = inner instanceof z.ZodArray ? unwrap(inner.element) : undefined;
  if (isOneOrMore(inner)) return "a map, or a list of maps";
  if (listOf instanceof z.ZodEnum) return `a list of ${listOf.options.join(", ")}`;
  if (listOf !== undefined) return `a list${such}`;
  if (inner instanceof z.ZodUnion && inner.options.some((option) => unwrap(option) instanceof z.ZodArray))
    return `a string, or a list of strings${such}`;
  // The top of the page describes durations and sizes once.
  const allowed = allowedText(schema, codeKey)
    .replace(DURATION.words, "a duration")
    .replace(SIZE.words, "a size")
    .replace(", not empty", "");
  return `${allowed}${such}`;
}

const descriptionOf = (schema: z.core.$ZodType): string => z.globalRegistry.get(schema)?.description ?? "";

/** A vertical bar would end the table cell. */
const escapeBars = (cell: string) => cell.replaceAll("|", "\\|");
