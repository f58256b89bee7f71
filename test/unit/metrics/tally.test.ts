import { expect, test } from "vitest";
import { createMetrics } from "../../../src/metrics/metrics.ts";

test("what a tally counted is in the metric at each scrape, and never twice", async () => {
  const metrics = createMetrics();
  const changes = metrics.changesBy("shop.orders");
  changes.added.inc();
  changes.added.inc(2);
  changes.removed.inc();
  metrics.deliveriesMade.inc(7);
  for (let scrape = 0; scrape < 2; scrape++) {
    const text = await metrics.registry.metrics();
    expect(text).toContain('tidewire_changes_total{collection="shop.orders",type="added"} 3\n');
    expect(text).toContain('tidewire_changes_total{collection="shop.orders",type="removed"} 1\n');
    expect(text).toContain("tidewire_deliveries_total 7\n");
  }
  changes.added.inc();
  expect(await metrics.registry.metrics()).toContain(
    'tidewire_changes_total{collection="shop.orders",type="added"} 4\n',
  );
  expect([changes.added.total, metrics.deliveriesMade.total]).toEqual([4, 7]);
});

test("each collection has one set of tallies, which its live queries share", async () => {
  const metrics = createMetrics();
  expect(metrics.changesBy("shop.orders")).toBe(metrics.changesBy("shop.orders"));
  metrics.changesBy("shop.orders").changed.inc();
  metrics.changesBy("shop.items").changed.inc(2);
  const text = await metrics.registry.metrics();
  expect(text).toContain('tidewire_changes_total{collection="shop.orders",type="changed"} 1\n');
  expect(text).toContain('tidewire_changes_total{collection="shop.items",type="changed"} 2\n');
});
