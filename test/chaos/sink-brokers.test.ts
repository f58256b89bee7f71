/** Sinks whose broker is killed and started again while a writer writes: nothing is lost, and almost nothing repeated. */
import { setTimeout as pause } from "node:timers/promises";
import { Admin, Consumer, stringDeserializers } from "@platformatic/kafka";
import { connect } from "amqplib";
import { MongoClient } from "mongodb";
import { expect, onTestFinished, type TestContext, test } from "vitest";
import { FUZZ_FACTOR, startSeed } from "../property/seed.ts";
import { Kafka } from "../support/kafka.ts";
import { RabbitMq } from "../support/rabbitmq.ts";
import { Random } from "../support/random.ts";
import { Redis } from "../support/redis.ts";
import { startTestService } from "../support/service.ts";
import { type Arrived, type Counted, judgeArrived, SteadyWriter } from "./sink-world.ts";

const PATIENCE = { timeout: 180_000, interval: 50 };
/** 50 with TIDEWIRE_FUZZ=20, as under `npm run soak`. A broker takes ten seconds to start. */
const KILLS = FUZZ_FACTOR === 1 ? 2 : Math.ceil(2.5 * FUZZ_FACTOR);
const IS_LONG = FUZZ_FACTOR >= 10;
const RATE = 200;
/** How long a broker works before it is killed, at random between these, in milliseconds. */
const LIFE_MS = IS_LONG ? ([6_000, 10_000] as const) : ([1_000, 2_000] as const);
/** Messages of one kill that may be repeated: one batch. */
const BATCH = 100;
const QUEUE = "counted";

interface Broker {
  readonly to: Record<string, unknown>;
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Everything that the broker holds, of which `total` have different ids. */
  read(total: number): Promise<Arrived[]>;
}

const toArrived = (text: string): Arrived => {
  const { id, subject, data } = JSON.parse(text);
  return { id, subject, n: data.doc.n };
};

async function redisBroker(skip: TestContext["skip"]): Promise<Broker> {
  const redis = await Redis.start(skip, ["--appendonly", "yes", "--appendfsync", "always"]);
  return {
    to: { redis: { url: redis.url, stream: QUEUE, timeout: "2s" } },
    kill: () => redis.stop(),
    start: () => redis.start(),
    read: async () => {
      const entries = (await redis.ask("XRANGE", QUEUE, "-", "+")) as [string, string[]][];
      return entries.map(([, fields]) => toArrived(fields[fields.indexOf("event") + 1] ?? ""));
    },
  };
}

async function rabbitBroker(skip: TestContext["skip"]): Promise<Broker> {
  const rabbit = await RabbitMq.start(skip);
  const open = async () => {
    const connection = await connect(rabbit.url);
    connection.on("error", () => {}); // the broker is killed
    return connection;
  };
  const preparing = await open();
  await (await preparing.createChannel()).assertQueue(QUEUE, { durable: true });
  await preparing.close();
  return {
    to: { amqp: { url: rabbit.url, exchange: "", routingKey: QUEUE, timeout: "5s" } },
    kill: () => rabbit.stop(),
    start: () => rabbit.start(),
    read: async () => {
      const connection = await open();
      const channel = await connection.createChannel();
      const arrived: Arrived[] = [];
      const { messageCount } = await channel.checkQueue(QUEUE);
      const note = (message: { content: Buffer } | null) =>
        message === null ? 0 : arrived.push(toArrived(message.content.toString()));
      await channel.consume(QUEUE, note, { noAck: true });
      await expect.poll(() => arrived.length, PATIENCE).toBe(messageCount);
      await connection.close();
      return arrived;
    },
  };
}

async function kafkaBroker(skip: TestContext["skip"]): Promise<Broker> {
  const kafka = await Kafka.start(skip);
  const bootstrapBrokers = [kafka.address];
  const admin = new Admin({ clientId: "test", bootstrapBrokers });
  await admin.createTopics({ topics: [QUEUE], partitions: 1, replicas: 1 });
  await admin.close();
  return {
    to: { kafka: { brokers: [kafka.address], topic: QUEUE, timeout: "10s" } },
    kill: () => kafka.stop(),
    start: () => kafka.start(),
    read: async (total) => {
      const consumer = new Consumer({
        clientId: "test",
        groupId: "reader",
        bootstrapBrokers,
        deserializers: stringDeserializers,
      });
      const stream = await consumer.consume({ topics: [QUEUE], mode: "earliest", autocommit: false });
      const arrived: Arrived[] = [];
      const ids = new Set<string>();
      for await (const { value } of stream) {
        arrived.push(toArrived(value));
        ids.add(arrived.at(-1)?.id ?? "");
        if (ids.size === total) break;
      }
      await consumer.close(true);
      return arrived;
    },
  };
}

type Case = readonly [title: string, make: (skip: TestContext["skip"]) => Promise<Broker>];
/** They take so long to start that a run of CI has one of them, which a seed chooses. */
const SLOW: readonly Case[] = [
  ["RabbitMQ", rabbitBroker],
  ["Kafka", kafkaBroker],
];
const chosen = new Random(startSeed("sink-brokers")).sample(SLOW, FUZZ_FACTOR === 1 ? 1 : SLOW.length);
const CASES: readonly Case[] = [["Redis", redisBroker], ...chosen];

test.for(CASES)(
  "loses nothing and repeats almost nothing when %s is killed",
  { timeout: 120_000 + KILLS * 90_000 },
  async ([title, make], { skip }) => {
    const broker = await make(skip);
    const { uri, name, db } = await startTestService({
      collections: { counted: { rules: [] } },
      sinks: { all: { collection: "counted", to: broker.to } },
    });
    const client = await new MongoClient(uri).connect();
    onTestFinished(() => client.close());
    const sinks = client.db(`${name}-state`).collection<{ _id: string; delivered: number }>("sinks");
    const delivered = async () => (await sinks.findOne({ _id: "all" }))?.delivered ?? 0;
    const follows = async () => (await sinks.findOne({ _id: "all", position: { $ne: null } })) !== null;
    await expect.poll(follows, PATIENCE).toBe(true);
    const writer = new SteadyWriter(db.collection<Counted>("counted"), RATE);
    onTestFinished(() => writer.stop());
    for (let kill = 0; kill < KILLS; kill++) {
      const before = await delivered();
      await expect.poll(delivered, PATIENCE).toBeGreaterThan(before);
      await pause(LIFE_MS[0] + Math.random() * (LIFE_MS[1] - LIFE_MS[0]));
      await broker.kill();
      await broker.start();
    }
    await writer.stop();
    const isEmpty = () => sinks.countDocuments({ _id: "all", spooledMessages: 0 } as object);
    await expect.poll(delivered, PATIENCE).toBe(writer.total);
    await expect.poll(isEmpty, PATIENCE).toBe(1);
    const arrived = await broker.read(writer.total);
    const repeated = judgeArrived(arrived, writer.counts);
    const share = ((100 * repeated) / arrived.length).toFixed(3);
    console.log(`${title}: ${KILLS} kills, ${arrived.length} sent, ${repeated} of them twice (${share} %)`);
    expect(repeated).toBeLessThanOrEqual(IS_LONG ? 0.001 * arrived.length : KILLS * BATCH);
  },
);
