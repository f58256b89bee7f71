/**
 * Queues messages that arrive while the first token is being verified. Clients need not wait for `welcome` before they
 * subscribe, which saves a round trip; the queue is bounded, because its client is not authenticated yet.
 */
import { amount } from "../../protocol/amount.ts";
import { CLOSE_CODES } from "../../protocol/close-codes.ts";
import { EARLY_LARGEST_MESSAGES } from "../../protocol/request-limits.ts";
import type { GatewayContext } from "../context.ts";
import { ClientError } from "./client-error.ts";
import type { Refused } from "./connection.ts";
import type { Incoming } from "./incoming.ts";

/** A message of a client, and its time of arrival. */
export interface Arrived {
  readonly incoming: Incoming;
  readonly atMs: number;
  readonly refused: Refused | undefined;
  /** Aborted when the client no longer waits for the answer. */
  readonly gone: AbortSignal | undefined;
}

/** [3.1] Messages that wait, in order, until the token of their connection is verified. */
export class EarlyMessages {
  readonly #context: Pick<GatewayContext, "limits" | "metrics">;
  #waiting: Arrived[] = [];
  #bytes = 0;

  constructor(context: Pick<GatewayContext, "limits" | "metrics">) {
    this.#context = context;
  }

  get areWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /**
   * Queues a message.
   * @throws {ClientError} `bad-request`, which closes with 4400, if a limit is exceeded.
   */
  add(message: Arrived): void {
    const { limits, metrics } = this.#context;
    this.#bytes += message.incoming.bytes;
    if (this.#waiting.length >= limits.earlyMessages) throw this.#overLimit("earlyMessages");
    if (this.#bytes > EARLY_LARGEST_MESSAGES * limits.messageBytes) throw this.#overLimit("messageBytes");
    metrics.earlyMessages.inc();
    this.#waiting.push(message);
  }

  /** Empties the queue. */
  take(): readonly Arrived[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#bytes = 0;
    return waiting;
  }

  #overLimit(limit: "earlyMessages" | "messageBytes"): ClientError {
    const value = this.#context.limits[limit];
    const text =
      limit === "earlyMessages"
        ? `more than ${amount(value, "message")} before welcome (limits.earlyMessages)`
        : `the messages before welcome are larger than ${EARLY_LARGEST_MESSAGES} times limits.messageBytes`;
    this.take();
    this.#context.metrics.limitHits.inc({ limit: "earlyMessages", outcome: "refused" });
    return new ClientError("bad-request", text, CLOSE_CODES.malformedMessage, { details: { limit, value } });
  }
}
