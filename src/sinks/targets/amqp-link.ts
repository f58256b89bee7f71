/**
 * One connection to RabbitMQ with one channel that confirms messages. It never reconnects by itself: the next message
 * opens another one. No error contains the URL, which may hold a password.
 */
import type { ConfirmChannel, Message } from "amqplib";
import { type GuardParts, guarded } from "../../metrics/guard.ts";
import type { SinkMessage } from "../target.ts";
import type { AmqpOptions } from "./options.ts";
import { within } from "./within.ts";

/** The package that talks to RabbitMQ, an optional dependency. */
export type AmqpPackage = typeof import("amqplib");

/** Both sides notice a dead connection after twice this time, in seconds. */
const HEARTBEAT_S = 10;

/** The broker's answer to some messages. */
export type PublishOutcome = "confirmed" | "returned";

/** The broker has closed the channel. */
export interface ChannelProblem extends Error {
  /** A reply code of AMQP. */
  readonly code?: unknown;
}

/** An open connection to a broker. */
export class AmqpLink {
  readonly #channel: ConfirmChannel;
  readonly #options: AmqpOptions;
  readonly #abort: AbortController;
  #problem: Error | undefined;
  #isOpen = true;
  /** The ids of messages that the broker has returned because no queue takes them. */
  #returned = new Set<unknown>();

  private constructor(channel: ConfirmChannel, options: AmqpOptions, abort: AbortController) {
    this.#channel = channel;
    this.#options = options;
    this.#abort = abort;
  }

  /** @param name Shown in the broker's list of connections. */
  static async open(
    amqp: AmqpPackage,
    options: AmqpOptions,
    name: string,
    parts: GuardParts,
    signal: AbortSignal,
  ): Promise<AmqpLink> {
    const { url, timeoutMs } = options;
    const abort = new AbortController();
    let link: AmqpLink | undefined;
    const opening = (async () => {
      // `net.connect` destroys the socket with this signal, which is the only way out if the broker hangs.
      const socket = { noDelay: true, timeout: timeoutMs, signal: abort.signal };
      const clientProperties = { connection_name: name };
      const connection = await amqp.connect(withHeartbeat(url), { ...socket, clientProperties });
      const fail = guarded(parts, "sinks.amqp", (error: Error) => link?.fail(error));
      connection.on("error", fail);
      const end = guarded(parts, "sinks.amqp", () => link?.fail(new Error("connection closed")));
      connection.on("close", end);
      return connection.createConfirmChannel();
    })();
    try {
      link = new AmqpLink(await within(opening, timeoutMs, signal), options, abort);
    } catch (error) {
      abort.abort();
      throw error;
    }
    link.#listen(parts);
    return link;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Publishes messages, and waits until the broker has taken responsibility for all of them.
   * @throws {ChannelProblem | WaitEndedError} The link is closed then.
   */
  async publish(messages: readonly SinkMessage[], signal: AbortSignal): Promise<PublishOutcome> {
    this.#returned = new Set();
    try {
      const confirmed = Promise.all(messages.map((message) => this.#publishOne(message)));
      await within(confirmed, this.#options.timeoutMs, signal);
    } catch (error) {
      this.close();
      // The confirmation fails with a general text; the reason was in the event before.
      throw this.#problem ?? error;
    }
    return messages.some(({ id }) => this.#returned.has(id)) ? "returned" : "confirmed";
  }

  /** Notes why the connection or the channel has ended. The first reason is the cause of the others. */
  fail(error: Error): void {
    this.#isOpen = false;
    this.#problem ??= error;
  }

  /** Closes the socket at once. Unconfirmed messages may have been taken or not. */
  close(): void {
    this.#isOpen = false;
    this.#abort.abort();
  }

  #listen(parts: GuardParts): void {
    const channel = this.#channel;
    const fail = guarded(parts, "sinks.amqp", (error: Error) => this.fail(error));
    channel.on("error", fail);
    const end = guarded(parts, "sinks.amqp", () => this.fail(new Error("channel closed")));
    channel.on("close", end);
    const note = ({ properties }: Message) => void this.#returned.add(properties.messageId);
    channel.on("return", guarded(parts, "sinks.amqp", note));
  }

  #publishOne({ id, event }: SinkMessage): Promise<void> {
    const { exchange, routingKey, mandatory } = this.#options;
    return new Promise((resolve, reject) => {
      const properties = {
        mandatory,
        persistent: true,
        messageId: id,
        type: event.type,
        appId: "tidewire",
        contentType: "application/cloudevents+json",
      };
      const content = Buffer.from(JSON.stringify(event));
      const confirm = (error: Error | null) => (error === null ? resolve() : reject(error));
      this.#channel.publish(exchange, routingKey, content, properties, confirm);
    });
  }
}

function withHeartbeat(text: string): string {
  const url = new URL(text);
  if (!url.searchParams.has("heartbeat")) url.searchParams.set("heartbeat", String(HEARTBEAT_S));
  return url.href;
}
