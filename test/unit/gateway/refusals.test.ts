import { pino } from "pino";
import { expect, test } from "vitest";
import { Refusals } from "../../../src/gateway/refusals.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";

type Line = Record<string, unknown>;

function setUp() {
  const lines: Line[] = [];
  const log = pino({ base: null, timestamp: false }, { write: (line) => void lines.push(JSON.parse(line)) });
  const metrics = createMetrics();
  return { lines, metrics, refusals: new Refusals(log, metrics) };
}

test("the first refusal of a reason is logged at once, with its address and origin", () => {
  const { lines, refusals } = setUp();
  refusals.note("origin", { address: "10.0.0.1", origin: "https://evil.example" }, 0);
  refusals.note("connect-rate", { address: "10.0.0.2" }, 0);
  expect(lines).toEqual([
    {
      level: 40,
      reason: "origin",
      count: 1,
      address: "10.0.0.1",
      origin: "https://evil.example",
      msg: expect.stringContaining("server.origins"),
    },
    {
      level: 40,
      reason: "connect-rate",
      count: 1,
      address: "10.0.0.2",
      msg: expect.stringContaining("limits.connectRate"),
    },
  ]);
});

test("those that follow are one line a minute, with their number", async () => {
  const { lines, metrics, refusals } = setUp();
  for (let n = 0; n < 1_000; n++) refusals.note("origin", { address: `10.0.0.${n}` }, n);
  refusals.flush(59_999);
  expect(lines).toHaveLength(1);
  refusals.flush(60_000);
  expect(lines[1]).toMatchObject({ count: 999, address: "10.0.0.999" });
  refusals.note("origin", {}, 60_001);
  expect(lines).toHaveLength(2);
  refusals.flush(120_000);
  expect(lines[2]).toMatchObject({ count: 1 });
  const { values } = await metrics.connectionsRefused.get();
  expect(values.filter(({ value }) => value > 0)).toMatchObject([{ value: 1_001 }]);
});

test("after a minute without a refusal the next one is logged at once again", () => {
  const { lines, refusals } = setUp();
  refusals.note("origin", {}, 0);
  refusals.flush(60_000);
  refusals.note("origin", {}, 60_001);
  expect(lines).toHaveLength(2);
});

test("an expired token is information, any other refused token a warning", () => {
  const { lines, refusals } = setUp();
  refusals.note("token-expired", {}, 0);
  refusals.note("token-signature", {}, 0);
  expect(lines.map(({ level, msg }) => [level, msg])).toEqual([
    [30, "refused a token: expired"],
    [40, "refused a token: signature"],
  ]);
});

test("an origin is cut off at 200 characters", () => {
  const { lines, refusals } = setUp();
  refusals.note("origin", { origin: "x".repeat(201) }, 0);
  expect(lines[0]?.["origin"]).toBe("x".repeat(200));
});
