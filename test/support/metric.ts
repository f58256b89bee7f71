import type { Service } from "../../src/server.ts";

/** The sum of a metric over its labels. */
export async function metricOf({ metrics }: Service, name: string): Promise<number> {
  const metric = metrics.registry.getSingleMetric(name);
  if (metric === undefined) throw new Error(`there is no metric ${name}`);
  return (await metric.get()).values.reduce((sum, { value }) => sum + value, 0);
}
