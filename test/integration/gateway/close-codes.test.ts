import { expect, test } from "vitest";
import type { Metrics } from "../../../src/metrics/metrics.ts";
import { CLOSE_CODES } from "../../../src/protocol/close-codes.ts";
import { COLLECTIONS } from "../../support/http-service.ts";
import { startTestService } from "../../support/service.ts";

/** The connections that were closed, by their code. Every known code begins with 0. */
async function countsOf({ metrics }: { readonly metrics: Metrics }): Promise<Record<string, number>> {
  const { values } = await metrics.connectionsClosed.get();
  const counted = values.filter(({ value }) => value > 0);
  return Object.fromEntries(counted.map(({ labels, value }) => [String(labels["code"]), value]));
}

test("a client that closes with a code of its own choosing is counted under other, whichever it chose", async () => {
  const { service, connect } = await startTestService({ collections: COLLECTIONS });
  const chosen = [3_000, 3_999, 4_429, 4_999, ...Array.from({ length: 40 }, (_, n) => 4_500 + n)];
  const standard = [1_000, 1_001, 1_008, 1_009];
  for (const code of [...chosen, ...standard]) {
    const client = await connect({ sub: "u1" });
    client.socket.close(code);
    await client.untilClosed();
  }
  await expect.poll(() => service.readiness().connections).toBe(0);
  expect(await countsOf(service)).toEqual({
    other: chosen.length,
    ...Object.fromEntries(standard.map((code) => [code, 1])),
  });
});

test("a close by the service is counted under its own code", async () => {
  const { service, connect } = await startTestService({ collections: COLLECTIONS });
  const client = await connect({ sub: "u1" });
  client.socket.send("no JSON");
  expect((await client.untilClosed()).code).toBe(CLOSE_CODES.malformedMessage);
  expect(await countsOf(service)).toEqual({ 4400: 1 });
});
