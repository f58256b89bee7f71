import { type NodeStatus, type ReportedStatus, STATUS_REPORT_MS } from "../../source/node-status-store.ts";
import type { LiveQueryDetail, LiveQueryRow, Processes } from "../questions.ts";
import { joinSamples } from "../rates.ts";
import { troublesOf } from "../troubles.ts";
import { ApiError } from "./endpoint.ts";
import type { Handlers } from "./endpoints.ts";
import { mayReadDocuments } from "./session-handlers.ts";
import { timeOf } from "./times.ts";

/** The handlers of the overview and of live queries. */
export const overviewHandlers = (
  processes: Processes,
): Pick<Handlers, "overview" | "liveQueries" | "liveQuery"> => ({
  overview: async () => {
    const own = await processes.all("overview", undefined);
    const reported = await processes.one("fleet", undefined).catch(() => null); // MongoDB does not answer
    const nodes = fleetOf(
      own.map(({ status }) => status),
      reported ?? [],
    );
    // The clients of a node that was killed are on other nodes by now, and must not be counted twice.
    const present = nodes.filter(({ ageMs }) => ageMs <= SILENT_MS);
    const sum = (of: (node: NodeStatus) => number) => present.reduce((total, node) => total + of(node), 0);
    return {
      nodes: nodes.map(nodeOf),
      isComplete: reported !== null,
      totals: {
        nodes: present.length,
        connections: sum(({ connections }) => connections),
        subscriptions: sum(({ subscriptions }) => subscriptions),
        liveQueries: sum(({ liveQueries }) => liveQueries),
      },
      troubles: troublesOf(nodes),
      samples: joinSamples(own.map(({ samples }) => samples)).map(({ atMs, ...sample }) => ({
        ...sample,
        at: timeOf(atMs),
      })),
    };
  },
  liveQueries: async (call, { limit, ...search }) => {
    const asked = { ...search, limit: limit + 1, mayReadDocuments: mayReadDocuments(call) };
    const lists = await processes.all("liveQueries", asked);
    const found = lists.flat().sort((a, b) => (a.key < b.key ? -1 : 1));
    const page = found.slice(0, limit);
    const next = found.length > limit ? (page.at(-1)?.key ?? null) : null;
    return { liveQueries: page.map(rowOf), next };
  },
  liveQuery: async (call, { id }) => {
    const found = await processes.all("liveQuery", { id, mayReadDocuments: mayReadDocuments(call) });
    const liveQuery = found.find((one): one is LiveQueryDetail => one !== null);
    if (liveQuery !== undefined) return { ...rowOf(liveQuery), snapshot: liveQuery.snapshot };
    throw new ApiError(
      404,
      "no-live-query",
      "there is no such live query here: it has ended, or is another node's",
    );
  },
});

/** A node that has missed two reports, in milliseconds: with the time that its last report may have taken. */
const SILENT_MS = 2 * STATUS_REPORT_MS + 1_000;

/** The nodes of this listener as they are now, and all others as they last reported. */
function fleetOf(own: readonly NodeStatus[], reported: readonly ReportedStatus[]): ReportedStatus[] {
  const names = new Set(own.map(({ node }) => node));
  const others = reported.filter(({ node }) => !names.has(node));
  const all = [...own.map((status) => ({ ...status, ageMs: 0 })), ...others];
  return all.sort((a, b) => (a.node < b.node ? -1 : 1));
}

function nodeOf(status: ReportedStatus) {
  const { ageMs, startedAtMs, ...node } = status;
  const isSilent = ageMs > SILENT_MS;
  return { ...node, startedAt: timeOf(startedAtMs), reportedAgoMs: ageMs, isSilent };
}

function rowOf(row: LiveQueryRow): Omit<LiveQueryRow, "key"> {
  const { id, node, namespace, filter, fields, aggregate, sort, limit } = row;
  const { subscribers, costMs, heldBytes, trackedDocuments, resets, isIndexed } = row;
  const measured = { subscribers, costMs, heldBytes, trackedDocuments, resets, isIndexed };
  return { id, node, namespace, filter, fields, aggregate, sort, limit, ...measured };
}
