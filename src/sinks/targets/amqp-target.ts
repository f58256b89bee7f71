/** An exchange of RabbitMQ, or of another broker that speaks AMQP 0-9-1 and confirms messages. */
import type { GuardParts } from "../../metrics/guard.ts";
import { StartupError } from "../../source/startup-error.ts";
import { withoutCredentials } from "../../source/without-credentials.ts";
import type { SendResult, SinkMessage, Target } from "../target.ts";
import { AmqpLink, type AmqpPackage, type ChannelProblem } from "./amqp-link.ts";
import { InTurn } from "./in-turn.ts";
import type { AmqpOptions } from "./options.ts";
import { sendApart } from "./send-apart.ts";

/** The reply code for a message that the broker does not take, such as one that is too large. */
const PRECONDITION_FAILED = 406;

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
      const reason = `RabbitMQ: no queue of exchange ${JSON.stringify(exchange)} takes the routing key ${JSON.stringify(routingKey)}`;
      return { kind: "unavailable", reason };
    } catch (error) {
      const { code, message } = error as ChannelProblem;
      const kind = code === PRECONDITION_FAILED ? "refused" : "unavailable";
      return { kind, reason: `RabbitMQ: ${withoutCredentials(message, url)}` };
    }
  }
}
