/** A receiver of webhooks, and the database and configuration of a service whose sink `all` sends to it. */
import { MongoClient } from "mongodb";
import { onTestFinished } from "vitest";
import { testDatabase } from "./mongod.ts";
import { testConfig } from "./service.ts";
import { WebhookReceiver } from "./webhook-receiver.ts";

/** @param collection The collection that the sink follows. Its state database is dropped when the test has ended. */
export async function webhookWorld(collection: string) {
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
    sinks: { all: { collection, to: receiver.to } },
  });
  return { receiver, name, client, state, config };
}
