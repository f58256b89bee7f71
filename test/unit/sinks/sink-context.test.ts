// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
/** The rules under which a sink without claims follows a collection. */
import { expect, test } from "vitest";
import { parseConfig } from "../../../src/config/config.ts";
import type { GatewayContext } from "../../../src/gateway/context.ts";
import { isHiddenPath } from "../../../src/match/projection.ts";
import { compileRules } from "../../../src/rules/compile-rules.ts";
import { sinkContext } from "../../../src/sinks/sink-context.ts";

const KEY = `whsec_${Buffer.alloc(32).toString("base64")}`;

function projectionOf(collection: string, presence: string) {
  const text = `
mongodb: { database: shop }
auth: { jwt: { algorithms: [HS256], secret: "\${SECRET}" } }
${presence}
collections: { presence: { rules: [{ name: all }] }, orders: { rules: [{ name: all }] } }
sinks: { s: { collection: ${collection}, to: { webhook: { url: "https://partner.example/", secret: "${KEY}" } } } }
`;
  const parsed = parseConfig(text, "t.yaml", { SECRET: "0123456789abcdef0123456789abcdef" });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const { config } = parsed;
  const sink = config.sinks["s"];
  if (sink === undefined) throw new Error("no sink");
  const rules = compileRules(config);
  const context = sinkContext({ rules, server: {}, ticketTerms: {} } as unknown as GatewayContext, sink);
  const [rule] = context.rules.collections.get(collection)?.rules ?? [];
  if (rule === undefined) throw new Error("no rule");
  return rule.projection;
}

test("[3.5] a sink without claims does not see which lease an entry of presence names", () => {
  const presence = "presence: { rules: [{ name: all }] }";
  expect(isHiddenPath(projectionOf("presence", presence), "node")).toBe(true);
  expect(isHiddenPath(projectionOf("presence", presence), "data")).toBe(false);
  expect(isHiddenPath(projectionOf("presence", ""), "node")).toBe(false);
  expect(isHiddenPath(projectionOf("orders", presence), "node")).toBe(false);
});
