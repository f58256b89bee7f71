/** config/grafana/tidewire.json against a real Prometheus that scrapes a real service under load. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { isWithout } from "../../support/installed.ts";
import { type Prometheus, startPrometheus } from "../../support/prometheus.ts";
import { startTestService } from "../../support/service.ts";

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly targets?: readonly { readonly expr: string }[];
}
// A unit test checks the form of the file.
const { panels } = JSON.parse(readFileSync(join(ROOT, "config", "grafana", "tidewire.json"), "utf8")) as {
  panels: readonly Panel[];
};
const skipped = isWithout("prometheus");
const PATIENCE = { timeout: 90_000, interval: 500 };

/** As Grafana fills in the variables when everything is selected. */
const filledIn = (expr: string) =>
  expr.replaceAll("$__rate_interval", "15s").replaceAll(/\$(?:job|instance)\b/g, ".+");

const sumOf = async ({ query }: Prometheus, expression: string) =>
  (await query(`sum(${expression})`)).reduce((total, { value }) => total + Number(value[1]), 0);

test.skipIf(skipped)(
  "every panel of the dashboard returns a series for a service with clients, changes, a reset and refusals",
  async () => {
    const { service, connect, db } = await startTestService({
      collections: { items: { rules: [{ name: "all" }] }, many: { rules: [{ name: "all" }] } },
      limits: { snapshotDocuments: 20 },
    });
    const items = db.collection<{ _id: number; n: number }>("items");
    await db.collection("many").insertMany(Array.from({ length: 21 }, (_, n) => ({ n })));
    const { port } = service.adminAddress;
    const prometheus = await startPrometheus(`127.0.0.1:${port}`);
    // Counters with labels exist from their first increment on: Prometheus needs to see the service before the load.
    await expect.poll(() => sumOf(prometheus, "tidewire_connections"), PATIENCE).toBe(0);
    await expect
      .poll(async () => (await prometheus.query("up == 1")).length, PATIENCE)
      .toBeGreaterThanOrEqual(1);

    let isOver = false;
    const load = async () => {
      const follower = await connect({ sub: "u1" });
      await follower.ask({ type: "subscribe", id: "items", collection: "items" });
      for (let n = 0; !isOver; n++) {
        await items.updateOne({ _id: n % 10 }, { $set: { n } }, { upsert: true });
        const client = await connect({ sub: `u${n % 3}` });
        const refused = await client.ask({ type: "subscribe", id: "a", collection: "many" });
        expect(refused).toMatchObject({ code: "snapshot-too-large" });
        const start = { cursor: "of-another-time", ticket: "of-another-key" };
        const again = await client.ask({ type: "subscribe", id: "b", collection: "items", ...start });
        expect(again).toMatchObject({ start: "reset" });
        await client.close();
      }
    };
    const loading = load();
    onTestFinished(async () => {
      isOver = true;
      await loading.catch(() => {});
    });

    const targets = panels.flatMap(({ title, targets: all = [] }) =>
      all.map(({ expr }) => ({ title, expr })),
    );
    expect(targets.length).toBeGreaterThan(40);
    const empty = async () => {
      const found = await Promise.all(
        targets.map(async ({ title, expr }) => {
          const series = await prometheus.query(filledIn(expr));
          return series.some(({ value }) => value[1] !== "NaN") ? [] : [`${title}: ${expr}`];
        }),
      );
      return found.flat();
    };
    await Promise.race([expect.poll(empty, PATIENCE).toEqual([]), loading]);
    // The load is visible in the panels that are about it.
    for (const name of ["resets", "refused_snapshots"])
      await expect
        .poll(() => sumOf(prometheus, `job:tidewire_${name}:ratio_rate5m`), PATIENCE)
        .toBeGreaterThan(0.1);
    for (const metric of ["tidewire_deliveries_total", "tidewire_delivery_lag_seconds_count"])
      expect(await sumOf(prometheus, `rate(${metric}[1m])`)).toBeGreaterThan(0);
    await expect
      .poll(
        () => sumOf(prometheus, 'ALERTS{alertname="TidewireRefusedSnapshotsFast",alertstate="firing"}'),
        PATIENCE,
      )
      .toBe(1);
    expect(await sumOf(prometheus, 'ALERTS{alertname="TidewireNodeDown"}')).toBe(0);
    isOver = true;
    await loading;
  },
);
