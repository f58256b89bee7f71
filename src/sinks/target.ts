/** A receiver of a sink's messages. */
import type { CloudEventV1 } from "cloudevents";

/** One message: a change of a result, as a CloudEvent. */
export interface SinkMessage {
  /** Equal over retries, restarts and nodes. */
  readonly id: string;
  /** The document's `_id` as JSON, in the form of the sink's `values`. Messages with equal keys arrive in order. */
  readonly key: string;
  readonly event: CloudEventV1<unknown>;
}

/** Why an attempt has failed. */
interface Failure {
  readonly reason: string;
  /** The beginning of the receiver's answer. It may quote the message, so only those who may read documents see it. */
  readonly excerpt?: string;
}

/** The result of one attempt to send one message. */
export type SendResult =
  | { readonly kind: "accepted" }
  /** The receiver has answered, and does not take this message. Other messages may pass. */
  | (Failure & { readonly kind: "refused"; readonly retryAfterMs?: number })
  /** The receiver cannot be reached. All messages wait. */
  | (Failure & { readonly kind: "unavailable"; readonly retryAfterMs?: number })
  /** The receiver wants no more messages. The sink is disabled. */
  | (Failure & { readonly kind: "gone" });

/** The receiver has answered, and does not take a message. */
export type Refusal = Extract<SendResult, { kind: "refused" }>;

/** Sends messages to one receiver. */
export interface Target {
  /** How many messages one call may carry. 1 unless the target supports batches. */
  readonly batchSize: number;
  /** Sends messages with distinct keys, or equal keys in order. Resolves with one result for each message. Never rejects for a failure of the receiver. */
  send(messages: readonly SinkMessage[], signal: AbortSignal): Promise<readonly SendResult[]>;
  close(): Promise<void>;
}
