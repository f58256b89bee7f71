/**
 * The parts of a delivery as interfaces. The steps of a delivery are functions in several files, and all of them
 * receive this context instead of the delivery itself, so only the delivery can change its phase.
 */
import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import type { Account } from "./account.ts";
import type { CatchUps } from "./catch-ups.ts";
import type { ClientCursors } from "./client-cursors.ts";
import type { GrantDiffs } from "./grant-diffs.ts";
import type { Interest } from "./interest.ts";
import type { LiveQuery } from "./live-query.ts";
import type { PastReads } from "./past-reads.ts";
import type { WindowAdmission } from "./reading-charge.ts";
import type { Rights } from "./rights.ts";
import type { Sink } from "./sink.ts";
import type { Slices } from "./slices.ts";
import type { SnapshotStore } from "./snapshot-store.ts";
import type { Timeline } from "./timeline.ts";

/** The parts that all deliveries share. */
export interface DeliveryParts {
  readonly timeline: Timeline;
  readonly cursors: ClientCursors;
  readonly snapshots: Pick<SnapshotStore, "open" | "noteBroken">;
  readonly pasts: Pick<PastReads, "read">;
  readonly windows: WindowAdmission;
  readonly grants: Pick<GrantDiffs, "moveSince" | "moveSinceTime" | "read">;
  readonly catchUps: CatchUps;
  readonly interest: Pick<Interest, "ensure">;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Makes slices for work that must let other work run in between. */
  readonly newSlices: () => Slices;
}

/** The terms of one subscription. */
export interface DeliveryTerms {
  readonly wantsSnapshot: boolean;
  readonly rights: Rights;
  /** The user to whom the live query is charged. */
  readonly account: Account;
}

/** One subscription to one live query, as the steps of its delivery see it. */
export interface DeliveryContext extends DeliveryTerms {
  readonly parts: DeliveryParts;
  readonly liveQuery: LiveQuery;
  readonly sink: Sink;
}
