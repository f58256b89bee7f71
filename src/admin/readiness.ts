import type { Feed } from "../feed/feed.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { ChangeSource } from "../source/change-source.ts";
import type { ImageKeeper, ImagesInUse } from "../source/image-keeper.ts";

/** What a load balancer and an admin want to know of a node. */
export interface Readiness {
  readonly ready: boolean;
  /** `no-answer` is told of a worker by its primary. */
  readonly status: "ready" | "starting" | "catching-up" | "mongodb-unreachable" | "draining" | "no-answer";
  readonly node: string;
  /** Generation of the rules in force: an editor sees an edit take effect by it. */
  readonly rulesGeneration: number;
  /** What became of the last edit; an error tells that the rules in force are older than the file. */
  readonly lastReload: "none" | "applied" | "rejected";
  readonly stream: string;
  readonly connections: number;
  /** By collection: whether its images are in use. Not for the public: it names them. */
  readonly images: Readonly<Record<string, ImagesInUse>>;
}

export interface ReadinessParts {
  readonly node: string;
  readonly source: ChangeSource;
  readonly feed: Feed;
  readonly gateway: Gateway;
  readonly keeper: ImageKeeper;
  readonly rules: { readonly generation: number; readonly lastReload: Readiness["lastReload"] };
}

/** Whether this node should get new clients, and if not, why. */
export function readinessOf({ node, source, feed, gateway, keeper, rules }: ReadinessParts): Readiness {
  const status = statusOf(source, feed, gateway);
  return {
    ready: status === "ready",
    status,
    node,
    rulesGeneration: rules.generation,
    lastReload: rules.lastReload,
    stream: source.state,
    connections: gateway.connections,
    images: keeper.inUse,
  };
}

function statusOf(source: ChangeSource, feed: Feed, gateway: Gateway): Readiness["status"] {
  if (gateway.isDraining) return "draining";
  if (source.state === "interrupted") return "mongodb-unreachable";
  if (!feed.isReady || source.state !== "running") return "starting";
  return source.caughtUp ? "ready" : "catching-up";
}
