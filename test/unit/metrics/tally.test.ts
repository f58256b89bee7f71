import { expect, test } from "vitest";
import { createMetrics } from "../../../src/metrics/metrics.ts";

test("what a tally counted is in the metric at each scrape, and never twice", async () => {
  const metrics = createMetrics();
  metrics.changesBy.added.inc();
  metrics.changesBy.added.inc(2);
  metrics.changesBy.removed.inc();
  metrics.deliveriesMade.inc(7);
  for (let scrape = 0; scrape < 2; scrape++) {
    const text = await metrics.registry.metrics();
    expect(text).toContain('tidewire_changes_total{type="added"} 3\n');
    expect(text).toContain('tidewire_changes_total{type="removed"} 1\n');
    expect(text).toContain("tidewire_deliveries_total 7\n");
  }
  metrics.changesBy.added.inc();
  expect(await metrics.registry.metrics()).toContain('tidewire_changes_total{type="added"} 4\n');
});
