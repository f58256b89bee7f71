/**
 * The consumer of a delivery, as the feed sees it. The feed does not know connections; the gateway decides behind this
 * interface whether rights allow a write and whether there is room.
 */
import type { ValueMode } from "../protocol/messages.ts";
import type { Chunk } from "./chunk.ts";
import type { SharedCompression } from "./shared-compression.ts";

/** Receives the chunks of a delivery. Behind it is the outbox of one connection. */
export interface Sink {
  readonly mode: ValueMode;
  /** Compresses what the client receives; `null` if the client takes no compressed messages. */
  readonly compression: SharedCompression | null;
  /**
   * Takes a chunk.
   * @returns `false` if there is no room for it; nothing was taken then.
   */
  write(chunk: Chunk): boolean;
  /**
   * The changes up to a cursor cancel each other, so nothing is written, and the client has the state of the cursor.
   * A watermark must not name an earlier point, because in between the state was another one.
   */
  noteUnchanged(cursor: string): void;
  /** Settles when there is room for `size` bytes, or when nothing waits at all; `false` if the connection has ended. */
  room(size: number): Promise<boolean>;
  /**
   * Settles when it is this delivery's turn to hold a snapshot.
   * @returns A function that returns the turn.
   */
  snapshotTurn(): Promise<() => void>;
  /**
   * Whether the client may receive data of a cluster time that the stream has not reached yet. Its token may be revoked
   * by that time. `false` also if only the stream can show that.
   */
  mayRead(clusterTime: bigint): Promise<boolean>;
  /** The data that the client has for the live query is void. */
  reset(reason: "history-lost" | "lagged"): void;
  /**
   * From now on changes are written as they arrive.
   * @param afterCatchUp Whether missed changes were sent before.
   */
  becameLive(afterCatchUp: boolean): void;
  /** The delivery has ended by itself, because the subscription cannot be kept up to date. Never throws. */
  failed(error: unknown): void;
}
