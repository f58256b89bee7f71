import { randomBytes } from "node:crypto";
import type { Feed } from "../feed/feed.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { Revocations } from "../gateway/rights/revocations.ts";
import type { ChangeSource } from "../source/change-source.ts";
import type { ImageKeeper, ImagesInUse } from "../source/image-keeper.ts";
import type { StreamDown } from "../source/stream-outage.ts";

/** The state of a node for its admins; `toPublicReadiness` removes what is not for everybody. */
export interface Readiness {
  readonly ready: boolean;
  /** The primary reports `no-answer` for a worker. */
  readonly status:
    | "ready"
    | "starting"
    | "catching-up"
    | "mongodb-unreachable"
    | "no-majority"
    | "revocations-unknown"
    | "too-many-revocations"
    | "rules-behind"
    | "draining"
    | "no-answer";
  /** The node's name, which may hold that of its host. */
  readonly node: string;
  /** The id under which clients see the node, in `welcome` and on the public `/readyz`. */
  readonly id: string;
  /** Generation of the rules in force: an editor sees an edit take effect by it. */
  readonly rulesGeneration: number;
  /** The outcome of the last edit. `rejected` means that the rules in force are older than the file. */
  readonly lastReload: "none" | "applied" | "rejected";
  /** The rule set of the database that should be in force and cannot be applied, and why; `null` if there is none. */
  readonly rulesBehind: RulesBehind | null;
  readonly stream: string;
  /** For how long the change stream has been down, and why; `null` while it is up. */
  readonly streamDown: StreamDown | null;
  readonly connections: number;
  /** Whether revoked tokens are followed. */
  readonly revocation: "on" | "off";
  /** By collection: whether its images are in use. */
  readonly images: Readonly<Record<string, ImagesInUse>>;
}

/** A rule set that this node cannot apply. */
export interface RulesBehind {
  /** Its number; 0 if no set is known to be in force. */
  readonly set: number;
  /** It may quote the rules, so it is for admins. */
  readonly problem: string;
  /** The beginning of the time in which this node has not followed the rules, in ISO 8601. */
  readonly since: string;
}

/** The answer of the public listener: no names of hosts or collections, no text of rules, and no number of clients. */
export interface PublicReadiness {
  readonly ready: boolean;
  readonly status: Readiness["status"];
  /** The opaque id. */
  readonly node: string;
  readonly rulesGeneration: number;
  readonly lastReload: Readiness["lastReload"];
  readonly rulesBehind: Pick<RulesBehind, "since"> | null;
}

/** The part of the readiness that strangers may see. */
export function toPublicReadiness(readiness: Readiness): PublicReadiness {
  const { ready, status, id, rulesGeneration, lastReload, rulesBehind: behind } = readiness;
  const rulesBehind = behind === null ? null : { since: behind.since };
  return { ready, status, node: id, rulesGeneration, lastReload, rulesBehind };
}

/** An id that says nothing about the host, new at each start. */
export const randomNodeId = (): string => randomBytes(6).toString("hex");

/** The parts of a node from which its readiness is computed. */
export interface ReadinessParts {
  readonly node: string;
  readonly id: string;
  readonly source: ChangeSource;
  readonly feed: Feed;
  readonly gateway: Gateway;
  readonly keeper: ImageKeeper;
  readonly revocations: Revocations | null;
  readonly majority: { readonly isLost: boolean };
  readonly rules: Pick<Readiness, "lastReload" | "rulesBehind"> & { readonly generation: number };
}

/** Whether this node should get new clients, and if not, why. */
export function readinessOf(parts: ReadinessParts): Readiness {
  const { node, id, source, gateway, keeper, rules, revocations } = parts;
  const status = statusOf(parts);
  return {
    ready: status === "ready",
    status,
    node,
    id,
    rulesGeneration: rules.generation,
    lastReload: rules.lastReload,
    rulesBehind: rules.rulesBehind,
    stream: source.state,
    streamDown: source.down,
    connections: gateway.connections,
    revocation: revocations === null ? "off" : "on",
    images: keeper.inUse,
  };
}

function statusOf({
  source,
  feed,
  gateway,
  revocations,
  majority,
  rules,
}: ReadinessParts): Readiness["status"] {
  if (gateway.isDraining) return "draining";
  if (source.state === "interrupted") return "mongodb-unreachable";
  if (majority.isLost) return "no-majority";
  if (!feed.timeline.isReady || source.state !== "running") return "starting";
  const why = revocations?.uncertainty ?? null;
  if (why !== null) return why === "too-large" ? "too-many-revocations" : "revocations-unknown";
  if (rules.rulesBehind !== null) return "rules-behind";
  return source.caughtUp ? "ready" : "catching-up";
}
