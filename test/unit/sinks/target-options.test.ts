import { expect, test } from "vitest";
import { targetSchema } from "../../../src/sinks/targets/options.ts";

const SECRET = `whsec_${Buffer.alloc(24, 1).toString("base64")}`;
const secretOf = (bytes: number) => `whsec_${Buffer.alloc(bytes, 1).toString("base64")}`;
const webhook = (change: object = {}) => ({
  webhook: { url: "https://receiver.example/hook", secret: SECRET, ...change },
});

const problemsOf = (value: unknown) =>
  targetSchema.safeParse(value).error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`) ??
  [];

test("a webhook needs a URL and a secret, and has defaults for the rest", () => {
  expect(targetSchema.parse(webhook()).webhook).toEqual({
    url: "https://receiver.example/hook",
    secret: SECRET,
    headers: {},
    batch: 1,
    timeoutMs: 15_000,
    allowPrivate: false,
  });
});

test("a Redis needs a URL and a stream", () => {
  const redis = { url: "rediss://user:pass@127.0.0.1:6379/1", stream: "orders" };
  expect(targetSchema.parse({ redis }).redis).toEqual({
    ...redis,
    maxLength: 1_000_000,
    batch: 100,
    timeoutMs: 15_000,
  });
});

test("a Kafka needs brokers and a topic", () => {
  const kafka = { brokers: ["kafka-1.internal:9092", "127.0.0.1:9093"], topic: "late-orders" };
  expect(targetSchema.parse({ kafka }).kafka).toEqual({
    ...kafka,
    clientId: "tidewire",
    tls: false,
    batch: 100,
    timeoutMs: 15_000,
  });
});

test.each<[object, number]>([
  [{ brokers: [] }, 1],
  [{ brokers: ["kafka-1.internal"] }, 1],
  [{ brokers: ["http://kafka-1.internal:9092"] }, 1],
  [{ brokers: Array(21).fill("kafka:9092") }, 1],
  [{ brokers: Array(20).fill("kafka:9092") }, 0],
  [{ topic: "__consumer_offsets" }, 1],
  [{ topic: "late orders" }, 1],
  [{ topic: "x".repeat(250) }, 1],
  [{ topic: "x".repeat(249) }, 0],
  [{ sasl: { mechanism: "PLAIN", username: "ada", password: "secret" } }, 0],
  [{ sasl: { mechanism: "GSSAPI", username: "ada", password: "secret" } }, 1],
  [{ sasl: { mechanism: "SCRAM-SHA-256", username: "ada" } }, 1],
])("the options of Kafka %j have %i mistakes", (change, count) => {
  const kafka = { brokers: ["kafka:9092"], topic: "late-orders" };
  expect(problemsOf({ kafka: { ...kafka, ...change } })).toHaveLength(count);
});

test("an AMQP broker needs a URL and an exchange", () => {
  const amqp = { url: "amqps://user:p%40ss@rabbitmq.internal/%2F", exchange: "orders" };
  expect(targetSchema.parse({ amqp }).amqp).toEqual({
    ...amqp,
    routingKey: "",
    mandatory: true,
    batch: 100,
    timeoutMs: 15_000,
  });
});

test.each([
  ["amqp://rabbitmq.internal", true],
  ["amqp://127.0.0.1:5672/vhost?heartbeat=5", true],
  ["amqp://user:p%ss@rabbitmq.internal", false],
  ["amqp://", false],
  ["http://rabbitmq.internal", false],
  ["rabbitmq.internal", false],
])("the URL of a broker %s is valid: %s", (url, isValid) => {
  expect(problemsOf({ amqp: { url, exchange: "" } }).length).toBe(isValid ? 0 : 1);
});

test.each(["exchange", "routingKey"])("%s has at most 255 bytes", (option) => {
  const amqp = { url: "amqp://127.0.0.1", exchange: "orders" };
  expect(problemsOf({ amqp: { ...amqp, [option]: "x".repeat(255) } })).toEqual([]);
  expect(problemsOf({ amqp: { ...amqp, [option]: "ü".repeat(128) } })).toHaveLength(1);
});

test("a sink has exactly one target", () => {
  const redis = { url: "redis://127.0.0.1:6379", stream: "orders" };
  for (const value of [{}, { ...webhook(), redis }])
    expect(problemsOf(value)).toEqual([expect.stringMatching(/^: exactly one of webhook, /)]);
});

test("unknown targets and options are mistakes", () => {
  expect(problemsOf({ smtp: {} })).not.toEqual([]);
  expect(problemsOf(webhook({ retries: 3 }))).not.toEqual([]);
});

test.each([
  [secretOf(24), true],
  [secretOf(64), true],
  [secretOf(23), false],
  [secretOf(65), false],
  [Buffer.alloc(32).toString("base64"), false],
  ["whsec_", false],
  ["whsec_not base64", false],
  [`${SECRET}=`, false],
  [[secretOf(24), secretOf(32)], true],
  [[], false],
  [[secretOf(24), secretOf(32), secretOf(33)], false],
])("the secret %j is valid: %s", (secret, isValid) => {
  expect(problemsOf(webhook({ secret })).length).toBe(isValid ? 0 : 1);
});

test.each([
  ["http://receiver.example/hook", "a URL that begins with https://"],
  ["ftp://receiver.example/hook", "a URL (https://…)"],
  ["https://user:pass@receiver.example/hook", "without user, password and fragment"],
  ["https://receiver.example/hook#part", "without user, password and fragment"],
  ["/hook", "a URL (https://…)"],
  [`https://receiver.example/${"x".repeat(2_048)}`, ""],
])("the URL %s is a mistake", (url, text) => {
  expect(problemsOf(webhook({ url })).join()).toContain(text);
  expect(problemsOf(webhook({ url })).length).toBeGreaterThan(0);
});

test("allowPrivate permits http", () => {
  expect(problemsOf(webhook({ url: "http://127.0.0.1:8080/", allowPrivate: true }))).toEqual([]);
});

test.each([
  [{ authorization: "Bearer abc" }, true],
  [{ "X-Api-Key": "abc" }, true],
  [Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`x-${n}`, "1"])), true],
  [Object.fromEntries(Array.from({ length: 21 }, (_, n) => [`x-${n}`, "1"])), false],
  [{ Host: "inside" }, false],
  [{ "webhook-id": "1" }, false],
  [{ "Content-Type": "text/plain" }, false],
  [{ "transfer-encoding": "chunked" }, false],
  [{ "x y": "1" }, false],
  [{ x: "1\r\ny: 2" }, false],
  [{ x: "ü" }, false],
  [{ x: "" }, false],
  [{ x: "1".repeat(8_193) }, false],
])("the headers %j are valid: %s", (headers, isValid) => {
  expect(problemsOf(webhook({ headers })).length === 0).toBe(isValid);
});

test.each([
  ["batch", 1, 100],
  ["timeoutMs", 1_000, 60_000],
])("%s is from %i to %i", (option, least, most) => {
  for (const value of [least, most]) expect(problemsOf(webhook({ [option]: value }))).toEqual([]);
  for (const value of [least - 1, most + 1, least + 0.5])
    expect(problemsOf(webhook({ [option]: value })).length).toBe(1);
});
