/**
 * A topic in Kafka, written by an idempotent producer. A producer numbers its batches, and the broker drops a number that
 * it has seen. After a batch whose outcome is unknown, another batch with that number would be taken for a repetition and
 * be lost. So a producer is never used again after a failure.
 */
import type { Producer } from "@platformatic/kafka";
import { StartupError } from "../../source/startup-error.ts";
import type { SendResult, SinkMessage, Target } from "../target.ts";
import { InTurn } from "./in-turn.ts";
import type { KafkaOptions } from "./options.ts";
import { sendApart } from "./send-apart.ts";
import { within } from "./within.ts";

/** The package that talks to Kafka, an optional dependency. */
type KafkaPackage = typeof import("@platformatic/kafka");

type TextProducer = Producer<string, string, string, string>;

/** Errors of Kafka that concern the message and not the broker. */
const ABOUT_THE_MESSAGE: ReadonlySet<unknown> = new Set([
  "MESSAGE_TOO_LARGE",
  "RECORD_LIST_TOO_LARGE",
  "INVALID_RECORD",
]);

const DEPTH_MAX = 5;
const REASON_LENGTH = 500;

/** Repetitions of a request by the package itself, with the same numbers. Later ones are the sink's business. */
const RETRIES = { retries: 2, retryDelay: 250 };

/** Writes messages to one topic. */
export class KafkaTarget implements Target {
  readonly batchSize: number;
  readonly #options: KafkaOptions;
  readonly #kafka: KafkaPackage;
  /** Two batches at a time would have the same numbers. */
  readonly #turns = new InTurn();
  #producer: TextProducer | undefined;

  private constructor(options: KafkaOptions, kafka: KafkaPackage) {
    this.batchSize = options.batch;
    this.#options = options;
    this.#kafka = kafka;
  }

  /**
   * @param option The option in the file that asks for it.
   * @throws {StartupError} The package is not installed.
   */
  static async load(options: KafkaOptions, option: string): Promise<KafkaTarget> {
    try {
      return new KafkaTarget(options, await import("@platformatic/kafka"));
    } catch (cause) {
      const text = `${option} needs a package that is not installed: npm install @platformatic/kafka@1, or remove ${option}`;
      throw new StartupError(text, [], { cause });
    }
  }

  send(messages: readonly SinkMessage[], signal: AbortSignal): Promise<readonly SendResult[]> {
    return this.#turns.run(() => sendApart(messages, (some) => this.#produce(some, signal)));
  }

  async close(): Promise<void> {
    this.#discard();
  }

  async #produce(messages: readonly SinkMessage[], signal: AbortSignal): Promise<SendResult> {
    const { topic, timeoutMs } = this.#options;
    this.#producer ??= this.#open();
    const records = messages.map(({ key, event }) => ({
      topic,
      key,
      value: JSON.stringify(event),
      headers: { "content-type": "application/cloudevents+json" },
    }));
    try {
      await within(this.#producer.send({ messages: records }), timeoutMs, signal);
      return { kind: "accepted" };
    } catch (error) {
      this.#discard();
      return this.#toResult(error);
    }
  }

  #open(): TextProducer {
    const { brokers, clientId, timeoutMs, tls, sasl } = this.#options;
    const producer = new this.#kafka.Producer<string, string, string, string>({
      clientId,
      bootstrapBrokers: [...brokers],
      idempotent: true,
      acks: this.#kafka.ProduceAcks.ALL,
      autocreateTopics: false,
      timeout: timeoutMs,
      connectTimeout: timeoutMs,
      ...RETRIES,
      serializers: this.#kafka.stringSerializers,
      ...(tls ? { tls: {} } : {}),
      ...(sasl === undefined ? {} : { sasl }),
    });
    // A connection that fails twice, such as after a refused login, would end the process without a listener.
    producer.connections.on("connecting", ({ connection }) => connection.on("error", () => {}));
    return producer;
  }

  #discard(): void {
    const producer = this.#producer;
    this.#producer = undefined;
    if (producer === undefined) return;
    const connections = [...producer.connections];
    producer.close().catch(() => {}); // fails where no connection was made
    // `close` would wait for a broker that hangs.
    for (const [, connection] of connections) connection.socket?.destroy();
  }

  #toResult(error: unknown): SendResult {
    const chain = chainOf(error);
    const text = [...new Set(chain.map(({ message }) => message))].join(": ").slice(0, REASON_LENGTH);
    const password = this.#options.sasl?.password;
    const safe = password === undefined ? text : text.replaceAll(password, "…");
    const isRefused = chain.some(({ apiId }) => ABOUT_THE_MESSAGE.has(apiId));
    return { kind: isRefused ? "refused" : "unavailable", reason: `Kafka: ${safe}` };
  }
}

/** An error of the package, which may have the name of one of Kafka's errors. */
type KafkaError = Error & { readonly apiId?: unknown };

/** An error with its causes. The package wraps the errors of each attempt and of each broker. */
function chainOf(error: unknown, depth = 0): KafkaError[] {
  if (!(error instanceof Error) || depth > DEPTH_MAX) return [];
  const inner = error instanceof AggregateError ? error.errors : [];
  return [error, ...[error.cause, ...inner].flatMap((cause) => chainOf(cause, depth + 1))];
}
