/** The conditions of a fleet that need an admin, each with its remedy in docs/operations.md. */
import type { ReportedStatus } from "../source/node-status-store.ts";

/** One condition. */
export interface Trouble {
  /** `error`: clients are affected. `warning`: they may be. */
  readonly severity: "error" | "warning";
  /** The nodes that it concerns. */
  readonly nodes: readonly string[];
  readonly text: string;
  /** The next step, in words. */
  readonly remedy: string;
  /** The section of the pages that says more. */
  readonly link: string;
}

/** A node that has not reported for this long counts as gone, in milliseconds. A failover of MongoDB ends sooner. */
const GONE_MS = 30_000;

type Condition = Omit<Trouble, "nodes">;

/** By the status of a node. A node that is ready has none. */
const BY_STATUS: Readonly<Record<string, Condition>> = {
  "mongodb-unreachable": {
    severity: "error",
    text: "the change stream is down: no change arrives. Connections stay open and lose nothing",
    remedy: "Check MongoDB and the network; the log names the reason.",
    link: "operations.md#the-change-stream-is-down",
  },
  "no-majority": {
    severity: "error",
    text: "MongoDB has no majority: no write is confirmed, and no change arrives",
    remedy: "Check rs.status(). The node is ready by itself when the majority is back.",
    link: "operations.md#health",
  },
  "revocations-unknown": {
    severity: "error",
    text: "the revoked tokens are unknown: no token is accepted",
    remedy: "If it lasts, update the node, or remove the document that the log names.",
    link: "operations.md#revoking-tokens",
  },
  "too-many-revocations": {
    severity: "error",
    text: "the revocations take more than auth.revocationBytes: no token is accepted",
    remedy: "Raise the limit and restart the nodes, or undo some revocations.",
    link: "operations.md#revoking-tokens",
  },
  "catching-up": {
    severity: "warning",
    text: "the node still reads the writes from before its start",
    remedy: "Wait. If it lasts, the node's core is too slow for the rate of writes.",
    link: "operations.md#symptoms",
  },
  starting: {
    severity: "warning",
    text: "the change stream has not found its start yet",
    remedy: "Wait.",
    link: "operations.md#health",
  },
  draining: {
    severity: "warning",
    text: "the node is shutting down and drains its connections",
    remedy: "None is needed.",
    link: "operations.md#restarts-and-deployments",
  },
};

const OTHER_STATUS: Condition = {
  severity: "error",
  text: "the node is not ready",
  remedy: "Ask /readyz of the node, and read its log.",
  link: "operations.md#health",
};

/** All conditions, the gravest first. */
export function troublesOf(nodes: readonly ReportedStatus[]): Trouble[] {
  const troubles = new Map<Condition, string[]>();
  const note = (condition: Condition, node: string) =>
    troubles.set(condition, [...(troubles.get(condition) ?? []), node]);
  const isGone = ({ ageMs }: ReportedStatus) => ageMs > GONE_MS;
  for (const node of nodes) {
    if (isGone(node)) note(GONE, node.node);
    else if (!node.ready) note(BY_STATUS[node.status] ?? OTHER_STATUS, node.node);
    if (!isGone(node) && node.lastReload === "rejected") note(REJECTED, node.node);
  }
  const present = nodes.filter((node) => !isGone(node));
  const differing = (condition: Condition, of: (node: ReportedStatus) => unknown) => {
    if (new Set(present.map(of)).size < 2) return;
    for (const node of present) note(condition, node.node);
  };
  differing(VERSIONS, ({ version }) => version);
  return [...troubles]
    .map(([condition, names]) => ({ ...condition, nodes: names }))
    .sort((a, b) => Number(a.severity === "warning") - Number(b.severity === "warning"));
}

const GONE: Condition = {
  severity: "error",
  text: "the node has not reported for more than 30 s: it has ended without draining, or cannot write to MongoDB",
  remedy: "Check its process and its log. Its clients have moved to other nodes.",
  link: "operations.md#health",
};
const REJECTED: Condition = {
  severity: "warning",
  text: "the last edit of the configuration was rejected: the rules in force are older than the file",
  remedy: "tidewire check reports the mistakes.",
  link: "operations.md#symptoms",
};
const VERSIONS: Condition = {
  severity: "warning",
  text: "the nodes have different versions",
  remedy: "Finish the update.",
  link: "operations.md#restarts-and-deployments",
};
