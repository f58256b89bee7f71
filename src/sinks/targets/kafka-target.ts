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
import { largestBytes, type Remedies, sayReason } from "./say-reason.ts";
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

/** @param bytes The size of the message. */
const remedies = (topic: string, bytes: number): Remedies => [
  [
    /MESSAGE_TOO_LARGE|RECORD_LIST_TOO_LARGE|larger|too large/i,
    `The message has ${bytes} bytes: raise max.message.bytes of the topic ${JSON.stringify(topic)}, or send fewer fields (fields of the sink), then replay the message`,
  ],
  [
    /INVALID_RECORD/,
    `Look at the rules of the topic ${JSON.stringify(topic)} for records, such as a schema or compaction, and replay the message`,
  ],
  [/SASL|authentication/i, "Look at sasl (mechanism, username and password) and at tls of the target"],
  [
    /TOPIC_AUTHORIZATION_FAILED/,
    `Give the user the rights Describe and Write on the topic ${JSON.stringify(topic)}`,
  ],
  [/CLUSTER_AUTHORIZATION_FAILED/, "Give the user the right IdempotentWrite on the cluster"],
  [
    /UNKNOWN_TOPIC|unknown topic|does not exist/i,
    `Create the topic ${JSON.stringify(topic)}, or give the user the right Describe on it`,
  ],
  [/NOT_ENOUGH_REPLICAS/, "Fewer replicas are in sync than min.insync.replicas: look at the brokers"],
  [/no answer within/, "Look at the brokers and the network, or raise timeout of the target"],
  [/ECONNREFUSED|ENOTFOUND|ETIMEDOUT|connect/i, "Look at brokers of the target, and whether they run"],
];

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
      return this.#toResult(error, messages);
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

  #toResult(error: unknown, messages: readonly SinkMessage[]): SendResult {
    const { topic, sasl } = this.#options;
    const chain = chainOf(error);
    const codes = chain.flatMap(({ apiId }) => (typeof apiId === "string" ? [apiId] : []));
    // The codes first, because operators look for them, and the rest of a long text is cut off.
    const text = [...new Set([...codes, ...chain.map(({ message }) => message)])].join(": ");
    const safe = sasl === undefined ? text : text.replaceAll(sasl.password, "…");
    const isRefused = codes.some((code) => ABOUT_THE_MESSAGE.has(code));
    const reason = sayReason("Kafka", safe, remedies(topic, largestBytes(messages)));
    return { kind: isRefused ? "refused" : "unavailable", reason };
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
