import type { ValueMode } from "../protocol/messages.ts";
import type { Chunk } from "./chunk.ts";

/** Follows a live query, and is up to date with the head of the history. */
export interface Follower {
  readonly mode: ValueMode;
  /** Takes the changes of the entries up to number `seq`. */
  deliver(chunk: Chunk, seq: number): void;
  /** The result can no longer be derived from the change events, so it must be read again. */
  startOver(): void;
  /** The changes could not be computed or written because of a bug, so the follower ends. Never throws. */
  fail(error: unknown): void;
}
