import type { ValueMode } from "../protocol/messages.ts";
import type { LogPosition } from "./catch-up-chunks.ts";
import type { Chunk } from "./chunk.ts";
import type { LogEntry } from "./log-entry.ts";

/** Follows a live query, and is up to date with the head of the history. */
export interface Follower {
  readonly mode: ValueMode;
  /** Everything up to this entry of the history has been delivered. */
  readonly after: number;
  /** Takes the next changes. @param position What has been delivered with them: entries, and messages of the next one. */
  deliver(chunk: Chunk, position: LogPosition): void;
  /** The next changes, up to this entry, cancel each other. */
  skipTo(entry: LogEntry): void;
  /** The result can no longer be derived from the change events, so it must be read again. */
  startOver(): void;
  /** The changes could not be computed or written because of a bug, so the follower ends. Never throws. */
  fail(error: unknown): void;
}
