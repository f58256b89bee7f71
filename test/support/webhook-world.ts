/** A receiver of webhooks, and the database and configuration of a service whose sink `all` sends to it. */
import { type Document, MongoClient } from "mongodb";
import { expect, onTestFinished } from "vitest";
import { SinkStore } from "../../src/sinks/sink-store.ts";
import { testDatabase } from "./mongod.ts";
import { startTestService, type TestServiceOptions, testConfig } from "./service.ts";
import { WebhookReceiver } from "./webhook-receiver.ts";

/** Waits for a process that may have to share the machine. */
const PATIENCE = { timeout: 60_000, interval: 20 };

/**
 * @param collection The collection that the sink follows. Its state database is dropped when the test has ended.
 * @param sink Further options of the sink.
 */
export async function webhookWorld(collection: string, sink: Record<string, unknown> = {}) {
  const receiver = await WebhookReceiver.start();
  const { name, uri } = await testDatabase();
  const client = await new MongoClient(uri).connect();
  const state = client.db(`${name}-state`);
  onTestFinished(async () => {
    await state.dropDatabase();
    await client.close();
  });
  const config = testConfig(uri, name, {
    collections: { [collection]: { rules: [] } },
    sinks: { all: { collection, to: receiver.to, ...sink } },
  });
  return { receiver, name, client, state, config };
}

/**
 * Starts a service in this process whose sink `late` sends `orders` to a receiver of webhooks.
 * @param sink Further options of the sink.
 */
export async function startWebhookSink<Order extends Document>(
  sink: Record<string, unknown> = {},
  rules: readonly Record<string, unknown>[] = [],
  options: Partial<TestServiceOptions> = {},
) {
  const receiver = await WebhookReceiver.start();
  const started = await startTestService({
    collections: { orders: { rules } },
    sinks: { late: { collection: "orders", to: receiver.to, ...sink } },
    ...options,
  });
  const { client, db, name } = started;
  const state = client.db(`${name}-state`);
  const store = new SinkStore(state, client);
  const stateOf = async () => (await store.states())[0];
  /** Waits until the sink follows its live query: from here on every change is sent. */
  const follows = () => expect.poll(async () => (await stateOf())?.position ?? null, PATIENCE).not.toBeNull();
  return { ...started, receiver, state, store, stateOf, follows, orders: db.collection<Order>("orders") };
}
