/** A receiver of a sink's messages. */
import type { CloudEventV1 } from "cloudevents";

/** One message: a change of a result, as a CloudEvent. */
export interface SinkMessage {
  /** Equal over retries, restarts and nodes. */
  readonly id: string;
  /** The canonical Extended JSON of the document's `_id`. Messages with equal keys arrive in order. */
  readonly key: string;
  readonly event: CloudEventV1<unknown>;
}

/** The result of one attempt to send one message. */
export type SendResult =
  | { readonly kind: "accepted" }
  /** The receiver has answered, and does not take this message. Other messages may pass. */
  | { readonly kind: "refused"; readonly reason: string; readonly retryAfterMs?: number }
  /** The receiver cannot be reached. All messages wait. */
  | { readonly kind: "unavailable"; readonly reason: string; readonly retryAfterMs?: number }
  /** The receiver wants no more messages. The sink is disabled. */
  | { readonly kind: "gone"; readonly reason: string };

/** Sends messages to one receiver. */
export interface Target {
  /** How many messages one call may carry. 1 unless the target supports batches. */
  readonly batchSize: number;
  /** Sends messages with distinct keys, or equal keys in order. Resolves with one result for each message. Never rejects for a failure of the receiver. */
  send(messages: readonly SinkMessage[], signal: AbortSignal): Promise<readonly SendResult[]>;
  close(): Promise<void>;
}
