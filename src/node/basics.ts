import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Tracing } from "../metrics/tracing.ts";

/** Answers requests on the public listener that are not the service's own; `false` for any other path. */
export type ExtraRoutes = (request: IncomingMessage, response: ServerResponse) => boolean;

/** The things that every part of a node works with. */
export interface Basics {
  readonly config: Config;
  readonly log: Logger;
  readonly extraRoutes: ExtraRoutes;
  readonly node: string;
  /** The id under which clients see the node. */
  readonly id: string;
  readonly metrics: Metrics;
  /** `null` unless `tracing.sampleRatio` is above 0. */
  readonly tracing: Tracing | null;
  /** Registers how a part is stopped; parts are stopped in reverse order. */
  onStop(stop: () => Promise<void>): void;
}
