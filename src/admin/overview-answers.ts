import { type GuardParts, guarded } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { NodeStatus, NodeStatusStore } from "../source/node-status-store.ts";
import type { Answers } from "./questions.ts";
import { type Load, LoadSamples, SAMPLE_MS } from "./rates.ts";
import type { Readiness } from "./readiness.ts";

/** The parts of a node whose load is measured. */
export interface LoadParts extends GuardParts {
  readonly metrics: Metrics;
  readonly connections: () => number;
  readonly liveQueries: () => number;
}

const sumOf = async (metric: { get(): Promise<{ values: readonly { readonly value: number }[] }> }) =>
  (await metric.get()).values.reduce((sum, { value }) => sum + value, 0);

/** Measures the load of this node now. */
export async function loadOf({ metrics, connections, liveQueries }: LoadParts): Promise<Load> {
  const [subscriptions, sent, unexpected] = await Promise.all([
    sumOf(metrics.subscriptions),
    sumOf(metrics.errorsSent),
    sumOf(metrics.unexpectedErrors),
  ]);
  return {
    connections: connections(),
    subscriptions,
    liveQueries: liveQueries(),
    deliveries: metrics.deliveriesMade.total,
    errors: sent + unexpected,
  };
}

/** Samples the load of this node. @returns The samples, and how to stop. */
export function sampleLoad(parts: LoadParts): { readonly samples: LoadSamples; readonly stop: () => void } {
  const samples = new LoadSamples();
  const sample = guarded(parts, "admin.load", async () => samples.add(await loadOf(parts), Date.now()));
  sample();
  const timer = setInterval(sample, SAMPLE_MS).unref();
  return { samples, stop: () => clearInterval(timer) };
}

/** The parts of a node from which its status is made. */
export interface StatusParts extends LoadParts {
  readonly version: string;
  readonly startedAtMs: number;
  readonly readiness: () => Readiness;
  readonly headAgeMs: () => number;
}

/** The status of this node now. */
export async function statusOf(parts: StatusParts): Promise<NodeStatus> {
  const { node, id, ready, status, rulesGeneration, lastReload } = parts.readiness();
  const { connections, subscriptions, liveQueries } = await loadOf(parts);
  const { version, startedAtMs } = parts;
  return {
    node,
    id,
    version,
    startedAtMs,
    ready,
    status,
    headAgeMs: Math.max(0, Math.round(parts.headAgeMs())),
    rulesGeneration,
    lastReload,
    connections,
    subscriptions,
    liveQueries,
  };
}

/** Answers the questions about the load and the status of nodes. */
export function overviewAnswers(
  status: () => Promise<NodeStatus>,
  samples: LoadSamples,
  fleet: Pick<NodeStatusStore, "all">,
  answer: <T>(ask: () => Promise<T>) => Promise<T>,
): Pick<Answers, "overview" | "fleet"> {
  return {
    overview: async () => ({ status: await status(), samples: samples.all }),
    fleet: () => answer(() => fleet.all()),
  };
}
