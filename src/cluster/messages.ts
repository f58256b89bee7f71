/**
 * The messages between a primary and its workers. Both have the same version, because the primary starts the
 * workers.
 */
import type { Registry } from "prom-client";
import type { EditPlan, EditProblems } from "../admin/plan-edit.ts";
import type { Question } from "../admin/questions.ts";
import type { Readiness } from "../admin/readiness.ts";
import type { Config } from "../config/config.ts";

/** The metrics of one process, as prom-client exports them for aggregation. */
export type MetricsJson = Awaited<ReturnType<Registry["getMetricsAsJSON"]>>;

/** A configuration, and which generation of the rules it is. */
export interface Edit {
  readonly config: Config;
  readonly generation: number;
}

/** The requests of the primary, with argument and result; `unknown` if the result is only a confirmation. */
export interface Requests {
  /** Answered once the worker can take connections. */
  start: { with: Edit; gives: unknown };
  readiness: { with: undefined; gives: Readiness };
  metrics: { with: undefined; gives: MetricsJson };
  /** The effect of an edit on the worker's subscriptions, given as the text of a configuration. */
  plan: { with: string; gives: EditPlan | EditProblems };
  /** Nobody waits for the plan any more. */
  endPlan: { with: undefined; gives: unknown };
  /** A question of an admin about the worker. */
  admin: { with: { readonly question: Question; readonly value: unknown }; gives: unknown };
  /** Whether the worker could take the edit; nothing takes effect yet. */
  prepare: { with: Edit; gives: unknown };
  apply: { with: Edit; gives: unknown };
  noteRejectedReload: { with: undefined; gives: unknown };
  /** Answered when the clients have gone; the process ends after it. */
  drain: { with: undefined; gives: unknown };
}

/** A request of the primary to a worker. */
export type RequestType = keyof Requests;

/** The listeners for clients. The primary owns their ports. */
export type ClientListener = "public" | "grpc";

/** A connection comes as a message with a socket, and is answered by `taken`, and by `closed` when it has ended. */
export type ToWorker =
  | { readonly connection: number; readonly to: ClientListener }
  | { readonly id: number; readonly request: RequestType; readonly with: unknown };

/** A message of a worker to the primary. */
export type FromWorker =
  /** The worker has its own copy of this connection's socket. */
  | { readonly taken: number }
  /** These connections have ended. */
  | { readonly closed: readonly number[] }
  | { readonly id: number; readonly gives: unknown }
  | { readonly id: number; readonly failed: Failure };

/** An error on its way between processes, where it loses its class. */
export interface Failure {
  readonly message: string;
  /** A `StartupError`: what it says is meant for the admin. */
  readonly isExpected: boolean;
  /** An outage, and whether what was asked for may still happen; `null` for another error. */
  readonly outage: { readonly mayStillHappen: boolean } | null;
}
