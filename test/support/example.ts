/** The pages under `examples/`, served as their README says, against a service of the test's own. */
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { ROOT } from "./build.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { testDatabase } from "./mongod.ts";
import { Running } from "./running.ts";
import { SECRET, testConfig } from "./service.ts";
import { type ServiceConfig, spawnService } from "./spawn-service.ts";

/** As in config/tidewire.yaml. */
const COLLECTIONS = {
  orders: {
    rules: [{ name: "customer", filter: { customerId: "%%user.sub" }, fields: { exclude: ["margin"] } }],
  },
};

export interface ExampleOrder {
  readonly item: string;
  readonly status: string;
  readonly customerId: string;
  readonly at: Date;
  readonly margin: number;
}

export interface ExampleOptions {
  readonly tokenLife?: string;
  readonly auth?: Record<string, unknown>;
  readonly origins?: readonly string[];
  readonly push?: Record<string, unknown>;
  /** Besides the orders. */
  readonly collections?: Record<string, unknown>;
  readonly presence?: Record<string, unknown>;
}

/** Mongod, service, a proxy that breaks things before it, and the example's own server; `url` is the page. */
export async function startExample(
  name: string,
  {
    tokenLife = "5m",
    auth = {},
    origins = ["*"],
    push = {},
    collections = {},
    presence,
  }: ExampleOptions = {},
) {
  const { client, db, name: database, uri } = await testDatabase();
  onTestFinished(async () => {
    await client.db(`${database}-state`).dropDatabase();
  });
  const server = {
    origins,
    heartbeat: "1s",
    sseRetry: "100ms",
    reconnect: { min: "200ms", max: "2s" },
  };
  const file = testConfig(uri, database, {
    collections: { ...COLLECTIONS, ...collections },
    server,
    push,
    presence,
  });
  const config = {
    ...file,
    auth: { ...(file["auth"] as object), ...auth },
    // The log reports the port.
    log: { level: "info" },
    history: { window: "5m" },
  };
  // The file is one configuration; its type only says what the tests look at.
  const service = await spawnService({ config: config as unknown as ServiceConfig });
  const proxy = await FaultProxy.start(service.listening.port);
  const args = [join(ROOT, "examples", "serve.mjs"), name, "--port", "0", "--database", database];
  const env = { ...process.env, MONGODB_URI: uri, TIDEWIRE_JWT_SECRET: SECRET };
  const pages = new Running(process.execPath, [...args, "--token-life", tokenLife], ROOT, env);
  const [base] = await pages.line(/^http:\S+$/);
  const orders = db.collection<ExampleOrder>("orders");
  const url = `${base}/?user=ada&service=http://127.0.0.1:${proxy.port}`;
  return { service, proxy, db, orders, url };
}
