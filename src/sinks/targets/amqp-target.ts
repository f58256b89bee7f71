/** An exchange of RabbitMQ, or of another broker that speaks AMQP 0-9-1 and confirms messages. */
import type { GuardParts } from "../../metrics/guard.ts";
import { StartupError } from "../../source/startup-error.ts";
import { withoutCredentials } from "../../source/without-credentials.ts";
import type { SendResult, SinkMessage, Target } from "../target.ts";
import { AmqpLink, type AmqpPackage, type ChannelProblem } from "./amqp-link.ts";
import { InTurn } from "./in-turn.ts";
import type { AmqpOptions } from "./options.ts";
import { largestBytes, type Remedies, sayReason } from "./say-reason.ts";
import { sendApart } from "./send-apart.ts";

/** The reply code for a message that the broker does not take, such as one that is too large. */
const PRECONDITION_FAILED = 406;

/** @param bytes The size of the message. */
const remedies = (exchange: string, bytes: number): Remedies => [
  [
    /^no queue/,
    "Bind a queue to the exchange with this routing key, or set mandatory: false to drop such messages",
  ],
  [
    /size|too large/i,
    `The message has ${bytes} bytes: raise max_message_size of the broker, or send fewer fields (fields of the sink), then replay the message`,
  ],
  [
    /PRECONDITION_FAILED/,
    `Look at the properties and policies of the exchange ${JSON.stringify(exchange)} and of its queues, and replay the message`,
  ],
  [/NOT_FOUND/, `Declare the exchange ${JSON.stringify(exchange)}, or look at the vhost in url`],
  [
    /ACCESS_REFUSED|NOT_ALLOWED|403/,
    `Look at user, password and vhost in url, and give the user the right to write to the exchange ${JSON.stringify(exchange)}`,
  ],
  [/nacked/, "A queue is full (overflow: reject-publish) or has failed: empty it, or raise its limit"],
  [
    /no answer within/,
    "Look whether an alarm for memory or disk space blocks publishers, or raise timeout of the target",
  ],
  [/ECONNREFUSED|ENOTFOUND|ETIMEDOUT|closed/i, "Look at url of the target, and whether the broker runs"],
];

/** Publishes messages to one exchange. */
export class AmqpTarget implements Target {
  readonly batchSize: number;
  readonly #options: AmqpOptions;
  readonly #amqp: AmqpPackage;
  readonly #name: string;
  readonly #parts: GuardParts;
  /** A problem of one message closes the channel for all. With one batch at a time it is clear whose problem it is. */
  readonly #turns = new InTurn();
  #link: AmqpLink | undefined;

  private constructor(options: AmqpOptions, amqp: AmqpPackage, name: string, parts: GuardParts) {
    this.batchSize = options.batch;
    this.#options = options;
    this.#amqp = amqp;
    this.#name = name;
    this.#parts = parts;
  }

  /**
   * @param option The option in the file that asks for it.
   * @param name Shown in the broker's list of connections.
   * @throws {StartupError} The package is not installed.
   */
  static async load(
    options: AmqpOptions,
    option: string,
    name: string,
    parts: GuardParts,
  ): Promise<AmqpTarget> {
    try {
      return new AmqpTarget(options, await import("amqplib"), name, parts);
    } catch (cause) {
      const text = `${option} needs a package that is not installed: npm install amqplib@2, or remove ${option}`;
      throw new StartupError(text, [], { cause });
    }
  }

  send(messages: readonly SinkMessage[], signal: AbortSignal): Promise<readonly SendResult[]> {
    return this.#turns.run(() => sendApart(messages, (some) => this.#publish(some, signal)));
  }

  async close(): Promise<void> {
    this.#link?.close();
  }

  async #publish(messages: readonly SinkMessage[], signal: AbortSignal): Promise<SendResult> {
    const { exchange, routingKey, url } = this.#options;
    try {
      if (this.#link?.isOpen !== true)
        this.#link = await AmqpLink.open(this.#amqp, this.#options, this.#name, this.#parts, signal);
      const outcome = await this.#link.publish(messages, signal);
      if (outcome === "confirmed") return { kind: "accepted" };
      const said = `no queue of exchange ${JSON.stringify(exchange)} takes the routing key ${JSON.stringify(routingKey)}`;
      return { kind: "unavailable", reason: sayReason("RabbitMQ", said, remedies(exchange, 0)) };
    } catch (error) {
      const { code, message } = error as ChannelProblem;
      const kind = code === PRECONDITION_FAILED ? "refused" : "unavailable";
      const said = withoutCredentials(message, url);
      const reason = sayReason("RabbitMQ", said, remedies(exchange, largestBytes(messages)));
      return { kind, reason };
    }
  }
}
