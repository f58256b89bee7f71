/** An HTTP receiver by Standard Webhooks 1.0. The body is a CloudEvent in structured mode. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Webhook } from "standardwebhooks";
import { PrivateAddressError } from "../../outbound/resolve-public.ts";
import { RequestFailedError, type SafeAnswer, type SafeRequest } from "../../outbound/safe-request.ts";
import type { SendResult, SinkMessage, Target } from "../target.ts";
import type { WebhookOptions } from "./options.ts";
import { sendApart } from "./send-apart.ts";
import { secretsInUrl, toSendResult } from "./webhook-result.ts";

/** Sends one request; `safeRequest`, unless a test needs another one. */
export type SendRequest = (request: SafeRequest) => Promise<SafeAnswer>;

/** Sends messages to one webhook. */
export class WebhookTarget implements Target {
  readonly batchSize: number;
  readonly #options: WebhookOptions;
  readonly #url: URL;
  readonly #signers: readonly Webhook[];
  /** Texts that the receiver may send back, and that no log may contain. */
  readonly #secrets: readonly string[];
  readonly #request: SendRequest;

  constructor(options: WebhookOptions, request: SendRequest) {
    this.batchSize = options.batch;
    this.#options = options;
    this.#url = new URL(options.url);
    this.#signers = [options.secret].flat().map((secret) => new Webhook(secret));
    this.#secrets = [
      ...Object.values(options.headers),
      ...[options.secret].flat(),
      ...secretsInUrl(this.#url),
    ];
    this.#request = request;
  }

  send(messages: readonly SinkMessage[], signal: AbortSignal): Promise<readonly SendResult[]> {
    return sendApart(messages, (some) => this.#post(some, signal));
  }

  async close(): Promise<void> {}

  async #post(messages: readonly SinkMessage[], signal: AbortSignal): Promise<SendResult> {
    const { headers, timeoutMs, allowPrivate } = this.#options;
    const { id, type, body } = this.batchSize > 1 ? toBatch(messages) : toSingle(messages);
    // The time of this attempt, not of the event: receivers refuse old ones, as a protection against replays.
    const now = new Date();
    try {
      const answer = await this.#request({
        url: this.#url,
        method: "POST",
        headers: {
          ...headers,
          "content-type": type,
          "user-agent": "tidewire",
          "webhook-id": id,
          "webhook-timestamp": String(Math.floor(now.getTime() / 1_000)),
          "webhook-signature": this.#signers.map((signer) => signer.sign(id, now, body)).join(" "),
        },
        body,
        timeoutMs,
        allowPrivate,
        signal,
      });
      return toSendResult(answer, this.#secrets, now.getTime());
    } catch (error) {
      return toUnavailable(error);
    }
  }
}

function toUnavailable(error: unknown): SendResult {
  if (error instanceof PrivateAddressError) {
    const advice = "set allowPrivate: true if the receiver is meant to be there";
    return { kind: "unavailable", reason: `${error.message}; ${advice}` };
  }
  if (error instanceof RequestFailedError) return { kind: "unavailable", reason: error.message };
  throw error;
}

interface Content {
  readonly id: string;
  readonly type: string;
  readonly body: string;
}

function toSingle([message]: readonly SinkMessage[]): Content {
  assert(message !== undefined);
  const { id, event } = message;
  return { id, type: "application/cloudevents+json", body: JSON.stringify(event) };
}

/** Receivers recognize a repetition by the id of each event, because a repetition may have other messages around it. */
function toBatch(messages: readonly SinkMessage[]): Content {
  // Equal whenever the same messages are sent together.
  const ids = JSON.stringify(messages.map(({ id }) => id));
  return {
    id: createHash("sha256").update(ids).digest("base64url"),
    type: "application/cloudevents-batch+json",
    body: JSON.stringify(messages.map(({ event }) => event)),
  };
}
