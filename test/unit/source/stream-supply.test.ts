import { expect, test } from "vitest";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import type { RawStream } from "../../../src/source/change-stream.ts";
import type { StreamHost } from "../../../src/source/stream-host.ts";
import { StreamPosition } from "../../../src/source/stream-position.ts";
import { StreamSupply } from "../../../src/source/stream-supply.ts";
import type { SharedTail } from "../../../src/source/tail/shared-tail.ts";

/** A supply whose tail opens when the test lets it. */
function supplyWith() {
  let opened: (stream: RawStream) => void = () => {};
  const opening = new Promise<RawStream>((resolve) => {
    opened = resolve;
  });
  const closed: string[] = [];
  const tail = { isInviting: true, open: () => opening, closed: () => closed.push("tail") };
  const stream = { close: () => closed.push("stream") } as unknown as RawStream;
  // The supply asks these parts for nothing else here.
  const supply = new StreamSupply({} as StreamHost, null, tail as unknown as SharedTail, createMetrics());
  return { supply, closed, arrive: () => opened(stream) };
}

test("a node returns to the tail that it has opened", async () => {
  const { supply, closed, arrive } = supplyWith();
  const returning = supply.canReturn(new StreamPosition());
  arrive();
  expect([await returning, closed]).toEqual([true, []]);
});

test("a tail that was opened for earlier collections is closed, because it lacks the changes of new ones", async () => {
  const { supply, closed, arrive } = supplyWith();
  const returning = supply.canReturn(new StreamPosition());
  supply.pipelineChanged();
  arrive();
  expect(await returning).toBe(false);
  expect(closed).toEqual(["tail", "stream", "tail"]);
});
