/**
 * Finds logins of brokers and of Redis that cross the network without encryption. They are valid, because a network may be
 * encrypted by other means, and most of them are mistakes: anyone on the path reads the password, and every document after it.
 */
import { isLoopback } from "../protocol/is-loopback.ts";
import type { Path } from "./config-text.ts";

/** A login without encryption. */
export interface PlainLogin {
  readonly path: Path;
  readonly message: string;
}

const NETWORK = "or be sure that the network between the machines is encrypted";

/** @param config The content of a file. It may have any form. */
export function* plainLogins(config: unknown): Generator<PlainLogin> {
  const tail: Path = ["mongodb", "tail", "redis", "url"];
  if (isPlainUrl(partOf(config, tail), "redis:"))
    yield { path: tail, message: urlText("Redis", "rediss://") };
  for (const name of Object.keys(Object(partOf(config, ["sinks"])))) {
    const to: Path = ["sinks", name, "to"];
    const [redis, amqp, kafka]: Path[] = [
      [...to, "redis", "url"],
      [...to, "amqp", "url"],
      [...to, "kafka"],
    ];
    if (redis !== undefined && isPlainUrl(partOf(config, redis), "redis:"))
      yield { path: redis, message: urlText("Redis", "rediss://") };
    if (amqp !== undefined && isPlainUrl(partOf(config, amqp), "amqp:"))
      yield { path: amqp, message: urlText("RabbitMQ", "amqps://") };
    const message = kafka === undefined ? undefined : kafkaText(partOf(config, kafka));
    if (kafka !== undefined && message !== undefined) yield { path: [...kafka, "sasl"], message };
  }
}

const urlText = (broker: string, scheme: string) =>
  `the password and the documents reach ${broker} in plain text, as nothing here encrypts the connection. Write ${scheme}, ${NETWORK}`;

/** Whether a URL of this scheme has a password, and leads to another machine. */
function isPlainUrl(url: unknown, scheme: string): boolean {
  if (typeof url !== "string" || !URL.canParse(url)) return false;
  const { protocol, password, hostname } = new URL(url);
  return protocol === scheme && password !== "" && !isLoopback(hostname);
}

function kafkaText(kafka: unknown): string | undefined {
  const brokers = partOf(kafka, ["brokers"]);
  const mechanism = partOf(kafka, ["sasl", "mechanism"]);
  if (mechanism === undefined || partOf(kafka, ["tls"]) === true || !Array.isArray(brokers)) return undefined;
  if (brokers.every((broker) => isLoopback(String(broker).replace(/:\d+$/, "")))) return undefined;
  const reveals =
    mechanism === "PLAIN"
      ? "the password and the documents reach Kafka in plain text"
      : "the documents reach Kafka in plain text, and a weak password can be guessed from a recorded login";
  return `${reveals}, as nothing here encrypts the connection. Set tls: true, ${NETWORK}`;
}

/** The part of a value at a path; `undefined` if there is none. */
const partOf = (value: unknown, path: Path): unknown =>
  path.reduce<unknown>(
    (part, name) => (Object.hasOwn(Object(part), name) ? Object(part)[name] : undefined),
    value,
  );
