import { pino } from "pino";
import { expect, test } from "vitest";
import { warnOfUnapplied } from "../../../src/node/reload.ts";
import { testConfig, toConfig } from "../../support/service.ts";

test("an edited sink needs a restart, and the log says so", () => {
  const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
  const configOf = (filter: object) => {
    const to = { webhook: { url: "https://receiver.example/", secret } };
    const sinks = { late: { collection: "orders", filter, to } };
    const options = { collections: { orders: { rules: [] } }, sinks };
    return toConfig(testConfig("mongodb://127.0.0.1/", "shop", options));
  };
  const lines: string[] = [];
  const log = pino({ level: "info" }, { write: (line) => void lines.push(line) });
  warnOfUnapplied(configOf({}), configOf({}), log);
  expect(lines).toEqual([]);
  warnOfUnapplied(configOf({}), configOf({ status: "late" }), log);
  expect(JSON.parse(lines[0] ?? "{}")).toMatchObject({ sections: ["sinks"] });
});
