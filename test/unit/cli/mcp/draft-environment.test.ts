// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
import { expect, test } from "vitest";
import { draftEnvironment, variablesIn } from "../../../../src/cli/mcp/draft-environment.ts";
import { readConfigText } from "../../../../src/config/config-text.ts";

const STARTED = `
mongodb: { uri: "\${URI}", database: "\${DATABASE}" }
auth: { jwt: { secret: "\${SECRET}", issuer: "\${TENANT}" } }
collections: { orders: { rules: [{ name: own, filter: { tenant: "\${TENANT}", region: "\${REGION}" } }] } }
`;
const env = {
  URI: "mongodb://u:p@h",
  DATABASE: "shop",
  SECRET: "s3cret",
  TENANT: "t1",
  REGION: "eu",
  OTHER: "o",
};

/** The values of a draft, as a tool reads them. */
function read(draft: string, started = STARTED) {
  const { env: filled, unfilled } = draftEnvironment(draft, started, env);
  const { value, problems } = readConfigText(draft, "draft", filled);
  return { value: value as Record<string, unknown>, problems, unfilled: [...unfilled] };
}

test("fills in the variables that only the rules in force use, and the name of the database", () => {
  const { value, unfilled } = read('collections: { a: "${REGION}", b: "${DATABASE}" }');
  expect(value["collections"]).toEqual({ a: "eu", b: "shop" });
  expect(unfilled).toEqual([]);
});

test.each(["SECRET", "URI", "OTHER", "UNSET", "TENANT"])(
  "leaves ${%s} as it is, because it is a secret, is used elsewhere as well, or is none of the rules' variables",
  (name) => {
    const { value, problems, unfilled } = read(`collections: { a: "x \${${name}} y", b: "\${${name}:-d}" }`);
    expect(value["collections"]).toEqual({ a: `x \${${name}} y`, b: `\${${name}}` });
    expect(problems).toEqual([]);
    expect(unfilled).toEqual(["collections.a", "collections.b"]);
  },
);

test("gives valid stand-ins where secrets belong, so that the rest of a draft can be judged", () => {
  const { value } = read(
    'mongodb: { uri: "${URI}" }\nauth: { jwt: [{ secret: "${SECRET}" }, { jwksUri: "${OTHER}" }] }',
  );
  expect(value).toEqual({
    mongodb: { uri: "mongodb://variable.invalid/?replicaSet=rs0" },
    auth: { jwt: [{ secret: "0".repeat(64) }, { jwksUri: "https://variable.invalid" }] },
  });
});

test("without a configuration in force, no variable is filled in", () => {
  expect(read('collections: { a: "${REGION}" }', "").value["collections"]).toEqual({ a: "${REGION}" });
  expect(read('collections: { a: "${REGION}" }', "a: [").value["collections"]).toEqual({ a: "${REGION}" });
});

test("finds variables in keys of any depth, and no text that is escaped", () => {
  expect(variablesIn('a: [{ b: "${X}-${Y}" }, "$${Z}"]\nc: 1')).toEqual([
    { path: ["a", 0, "b"], names: ["X", "Y"] },
  ]);
});
