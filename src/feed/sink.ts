import type { ValueMode } from "../protocol/messages.ts";
import type { Chunk } from "./chunk.ts";

/** Receives what a delivery writes: one connection's outbox. */
export interface Sink {
  readonly mode: ValueMode;
  /** Takes a chunk; `false`, and nothing taken, where there is no room for it. */
  write(chunk: Chunk): boolean;
  /** Settles when there is room for `size` bytes, or nothing waits at all; `false` when the connection has ended. */
  room(size: number): Promise<boolean>;
  /** Settles when it is this delivery's turn to hold a snapshot. The returned function gives the turn back. */
  snapshotTurn(): Promise<() => void>;
  /**
   * Whether the client may receive data of a cluster time that the stream has not reached yet, by which its token may be
   * revoked. `false` also where only the stream can tell.
   */
  mayRead(clusterTime: bigint): Promise<boolean>;
  /** The data that the client holds for the live query is void. */
  reset(reason: "history-lost" | "lagged"): void;
  /** From now on everything is written as it comes. @param afterCatchUp Missed changes were sent before. */
  becameLive(afterCatchUp: boolean): void;
  /** The delivery has ended by itself: the subscription cannot be kept up. Never throws. */
  failed(error: unknown): void;
}
