import type { ReadPreference } from "mongodb";
import type { NoticeHandler } from "./read-commits.ts";
import type { SharedTailAccess } from "./stream-supply.ts";

/** The options of a `ChangeSource`; times are in milliseconds. */
export interface ChangeSourceOptions {
  readonly uri: string;
  /** See `mongodb.connectTimeout`. */
  readonly connectTimeoutMs: number;
  /** `database.collection` of every configured collection. */
  readonly namespaces: readonly string[];
  /** Namespaces of the service's own collections. Edits of the rules never remove them. */
  readonly stateNamespaces: readonly string[];
  /** Those of `stateNamespaces` whose commits may change which collections are watched. */
  readonly ruleNamespaces: readonly string[];
  /**
   * How far before now the first stream begins, in milliseconds, so that the history can serve resumptions right after
   * a start.
   */
  readonly startBeforeMs: number;
  /** How long the server may hold an idle read, in milliseconds. */
  readonly awaitTimeMs: number;
  /** How long an answer may be late before the stream is taken for stalled, in milliseconds. */
  readonly progressTimeoutMs: number;
  readonly checkpointIntervalMs: number;
  /** Whether the server supports pre- and post-images. */
  readonly images: boolean;
  readonly onNotice: NoticeHandler;
  /** The members that may serve the stream. Default: the primary. */
  readonly readPreference?: ReadPreference;
  /** See `ReplicationWatch`. */
  readonly staleMs?: number;
  /** Default: the node reads MongoDB alone. */
  readonly tail?: SharedTailAccess | undefined;
}
