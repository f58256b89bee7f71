/**
 * The options of a sink's target: the receiver of its messages. Secrets are written as `${NAME}`, so that they are in the
 * environment and not in the file.
 */
import { z } from "zod";
import { redisUrl } from "../../source/options.ts";

/** The sizes of a signing secret in bytes, as Standard Webhooks defines them. */
const SECRET_BYTES = { min: 24, max: 64 };

/** Headers that the sender sets, and headers that concern one connection only. */
const RESERVED_HEADERS =
  /^(?:host|user-agent|content-.*|webhook-.*|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|proxy-.*)$/i;

const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/;

function isSecret(text: string): boolean {
  const [, base64] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? [];
  if (base64 === undefined || base64.length % 4 !== 0) return false;
  const { length } = Buffer.from(base64, "base64");
  return length >= SECRET_BYTES.min && length <= SECRET_BYTES.max;
}

function isPlainUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, hash } = new URL(text);
  return /^https?:$/.test(protocol) && username === "" && password === "" && hash === "";
}

/** Makes the secret of a webhook. */
const SECRET_COMMAND = `echo "whsec_$(openssl rand -base64 32)"`;

const secret = z.string().refine(isSecret, {
  error: `whsec_ and the base64 of 24 to 64 random bytes. Make one with ${SECRET_COMMAND}`,
});

const secrets = z.array(secret).min(1).max(2);

const timeoutMs = z.int().min(1_000).max(60_000).default(15_000);

const batch = (most: number, ordinary: number) => z.int().min(1).max(most).default(ordinary);

const headerValue = z
  .string()
  .min(1)
  .max(8_192)
  .regex(/^[\x20-\x7e]+$/, { error: "printable ASCII characters" });

const WebhookOptions = z
  .strictObject({
    url: z
      .string()
      .max(2_048)
      .refine(isPlainUrl, { error: "a URL (https://…) without user, password and fragment" })
      .meta({ examples: ["https://partner.example/hooks/orders"] })
      .describe("URL of the receiver. Redirects are not followed."),
    secret: z
      .union([secret, secrets])
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
      .meta({ examples: ["${WEBHOOK_SECRET}"] })
      .describe(
        "Secret that signs the messages, or a list of two while the receiver changes from one to the other. Every message has a signature of each.",
      ),
    headers: z
      .record(
        z
          .string()
          .regex(HEADER_NAME, { error: "the name of a header" })
          .refine((name) => !RESERVED_HEADERS.test(name), {
            error: "a header that the service does not set",
          }),
        headerValue,
      )
      .refine((headers) => Object.keys(headers).length <= 20, { error: "at most 20 headers" })
      .default({})
      // biome-ignore lint/suspicious/noTemplateCurlyInString: as above
      .meta({ examples: [{ authorization: "Bearer ${PARTNER_TOKEN}" }] })
      .describe("Further headers of each request, for receivers that need a login."),
    batch: batch(100, 1).describe(
      "Messages per request. More than 1: the body is a list (application/cloudevents-batch+json).",
    ),
    timeoutMs: timeoutMs.describe("How long the receiver may take for its whole answer."),
    allowPrivate: z
      .boolean()
      .default(false)
      .describe(
        "Whether the receiver may be at an address that is not public, and without TLS. Only if you alone decide what the URL contains.",
      ),
  })
  .refine(({ url, allowPrivate }) => allowPrivate || url.startsWith("https:"), {
    path: ["url"],
    error: "a URL that begins with https://. allowPrivate: true permits http:// as well",
  });
/** A receiver of Standard Webhooks. */
export type WebhookOptions = z.output<typeof WebhookOptions>;

const RedisOptions = z.strictObject({
  url: redisUrl.describe("URL of a Redis 6.2 or Valkey, with user and password; rediss:// for TLS."),
  stream: z
    .string()
    .min(1)
    .max(512)
    .meta({ examples: ["late-orders"] })
    .describe("Key of the stream that messages are added to. Redis creates it with the first one."),
  maxLength: z
    .int()
    .min(1)
    .max(1_000_000_000)
    .default(1_000_000)
    .describe(
      "About how many entries the stream keeps (MAXLEN ~). Redis removes older ones, whether they were read or not.",
    ),
  batch: batch(1_000, 100).describe("Messages per transaction."),
  timeoutMs: timeoutMs.describe("How long Redis may take to accept a connection or to answer."),
});
/** A stream in Redis. */
export type RedisTargetOptions = z.output<typeof RedisOptions>;

/** Whether the package for AMQP can use a URL. */
function isAmqpUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  try {
    decodeURIComponent(username);
    decodeURIComponent(password);
  } catch {
    return false;
  }
  return /^amqps?:$/.test(protocol) && hostname !== "";
}

/** AMQP writes these names with their length in one byte. */
const shortString = (least: number) =>
  z
    .string()
    .min(least)
    .refine((text) => Buffer.byteLength(text) <= 255, { error: "at most 255 bytes" });

const AmqpOptions = z.strictObject({
  url: z
    .string()
    .refine(isAmqpUrl, {
      error:
        "a URL of RabbitMQ (amqp://user:password@host:5672/vhost or amqps://…), its parts percent-encoded: %2F for the vhost /",
    })
    .meta({ examples: ["amqps://tidewire:secret@rabbitmq.internal"] })
    .describe("URL of the broker, with user and password; amqps:// for TLS."),
  exchange: shortString(0)
    .meta({ examples: ["orders"] })
    .describe(
      'The exchange, which must exist. "": the default exchange, whose routing keys are names of queues.',
    ),
  routingKey: shortString(0).default("").describe("The routing key of every message."),
  mandatory: z
    .boolean()
    .default(true)
    .describe(
      "Whether a message that no queue takes makes the target unavailable. false: the broker drops such a message.",
    ),
  batch: batch(1_000, 100).describe("Messages that are published before the confirmations are awaited."),
  timeoutMs: timeoutMs.describe(
    "How long the broker may take to accept a connection or to confirm messages.",
  ),
});
/** An exchange of an AMQP broker. */
export type AmqpOptions = z.output<typeof AmqpOptions>;

const KafkaOptions = z.strictObject({
  brokers: z
    .array(z.string().regex(/^[A-Za-z0-9_.-]+:\d{1,5}$/, { error: "host:port" }))
    .min(1)
    .max(20)
    .readonly()
    .meta({ examples: [["kafka-1.internal:9092", "kafka-2.internal:9092"]] })
    .describe("Brokers to ask first, as host:port."),
  topic: z
    .string()
    .regex(/^(?!__)[A-Za-z0-9._-]{1,249}$/, { error: "a topic: letters, digits and . _ -, at most 249" })
    .meta({ examples: ["late-orders"] })
    .describe(
      "The topic, which must exist. The key of a message is the `_id` as JSON, in the form of `values`.",
    ),
  clientId: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,200}$/, { error: "letters, digits and . _ -, at most 200" })
    .default("tidewire")
    .describe("The name under which brokers see this client."),
  tls: z.boolean().default(false).describe("Whether connections use TLS."),
  sasl: z
    .strictObject({
      mechanism: z.enum(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]).describe("The mechanism of the login."),
      username: z
        .string()
        .min(1)
        .max(500)
        .meta({ examples: ["tidewire"] })
        .describe("The user."),
      password: z
        .string()
        .min(1)
        .max(500)
        // biome-ignore lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
        .meta({ examples: ["${KAFKA_PASSWORD}"] })
        .describe("The password. Use PLAIN only with tls."),
    })
    .optional()
    .describe("The login. Unset: none."),
  batch: batch(1_000, 100).describe("Messages per request."),
  timeoutMs: timeoutMs.describe("How long Kafka may take to accept a connection or to confirm a request."),
});
/** A topic in Kafka. */
export type KafkaOptions = z.output<typeof KafkaOptions>;

const TARGETS = z.strictObject({
  webhook: WebhookOptions.optional().describe("An HTTP receiver, by Standard Webhooks."),
  kafka: KafkaOptions.optional().describe("A topic in Kafka. Needs the package `@platformatic/kafka`."),
  amqp: AmqpOptions.optional().describe("An exchange of RabbitMQ. Needs the package `amqplib`."),
  redis: RedisOptions.optional().describe("A stream in Redis (XADD). Needs the package `@redis/client`."),
});

/** The section `to` of a sink: exactly one receiver. */
export const targetSchema = TARGETS.refine(
  (targets) => Object.values(targets).filter((target) => target !== undefined).length === 1,
  { error: `exactly one of ${Object.keys(TARGETS.shape).join(", ")}` },
);
/** Options of one target. Exactly one of the fields is set. */
export type TargetOptions = z.output<typeof targetSchema>;
