/** The service in this process, on the shared mongod, with a configuration of the test's own. */
import { SignJWT } from "jose";
import { pino } from "pino";
import { onTestFinished } from "vitest";
import { stringify } from "yaml";
import { type Config, parseConfig } from "../../src/config/config.ts";
import { type Service, startService } from "../../src/server.ts";
import { testDatabase } from "./mongod.ts";
import { pushRules } from "./rule-sets.ts";
import { type ConnectOptions, WsClient } from "./ws-client.ts";

export const SECRET = "a secret of more than thirty-two bytes, for tests";

/** A token for the service of `startTestService`. */
export function signToken(claims: Record<string, unknown>, expiresInSeconds = 3_600): Promise<string> {
  return new SignJWT(claims)
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime(Math.floor(Date.now() / 1_000) + expiresInSeconds)
    .sign(new TextEncoder().encode(SECRET));
}

export interface TestServiceOptions {
  /** With `rules: { from: "database" }` they are put in force there before the start. */
  readonly collections: Record<string, unknown>;
  readonly server?: Record<string, unknown>;
  readonly limits?: Record<string, unknown>;
  readonly history?: Record<string, unknown>;
  readonly rules?: Record<string, unknown>;
  readonly auth?: Record<string, unknown>;
  readonly presence?: Record<string, unknown> | undefined;
  readonly mongodb?: Record<string, unknown>;
  readonly sinks?: Record<string, unknown>;
  readonly push?: Record<string, unknown>;
  /** Shorter than the configuration allows, for tests that want many watermarks. */
  readonly heartbeatMs?: number;
  /** As well, for tests that want tickets to end. */
  readonly ticketMaxAgeMs?: number;
  /** Receives the lines of the log, which is silent otherwise. */
  readonly onLogLine?: (line: Readonly<Record<string, unknown>>) => void;
}

/** The configuration file of a test, as an object; ports are the system's, limits on connecting out of the way. */
export function testConfig(
  uri: string,
  database: string,
  options: TestServiceOptions,
): Record<string, unknown> {
  return {
    mongodb: {
      uri,
      database,
      stateDatabase: `${database}-state`,
      checkpointInterval: "200ms",
      awaitTime: "200ms",
      ...options.mongodb,
    },
    server: { port: 0, admin: { port: 0 }, drainTimeout: "1s", ...options.server },
    auth: { jwt: { algorithms: ["HS256"], secret: SECRET, clockTolerance: "0s" }, ...options.auth },
    ...(options.rules?.["from"] === "database" ? {} : { collections: options.collections }),
    limits: {
      connectRate: 100_000,
      connectRatePerAddress: 100_000,
      connectBurstPerAddress: 100_000,
      connectionsPerAddress: 100_000,
      connectionsPerUser: 100_000,
      userRequestsPerSecond: 1_000_000,
      userRequestBurst: 1_000_000,
      subscriptionsPerUser: 1_000_000,
      liveQueriesPerUser: 1_000_000,
      userRequestBytes: "1GiB",
      windowBytes: "8GiB",
      userWindowBytes: "8GiB",
      userOutboxBytes: "8GiB",
      filterWorkPerUser: 1_000_000_000,
      workPerUser: "1s",
      ...options.limits,
    },
    // With steps, a fence on a write that its client does not see takes up to three seconds. Tests of the steps set them.
    history: { window: "0s", cursorStep: "0s", ...options.history },
    rules: { ...options.rules },
    ...(options.presence === undefined ? {} : { presence: options.presence }),
    ...(options.sinks === undefined ? {} : { sinks: options.sinks }),
    ...(options.push === undefined ? {} : { push: options.push }),
    log: { level: "silent" },
  };
}

export function toConfig(file: Record<string, unknown>): Config {
  const parsed = parseConfig(stringify(file), "test.yaml", {});
  if (parsed.ok) return parsed.config;
  throw new Error(JSON.stringify(parsed.problems, null, 2));
}

export async function startTestService(options: TestServiceOptions) {
  const { client, db, name, uri } = await testDatabase();
  const file = testConfig(uri, name, options);
  if (options.rules?.["from"] === "database") await pushRules(client, name, options.collections);
  const { onLogLine } = options;
  const log =
    onLogLine === undefined
      ? pino({ level: process.env["TIDEWIRE_TEST_LOG"] ?? "silent" })
      : pino({ level: "info" }, { write: (line) => onLogLine(JSON.parse(line)) });
  const config = toConfig(file);
  const { heartbeatMs = config.server.heartbeatMs, ticketMaxAgeMs = config.tickets.maxAgeMs } = options;
  const service: Service = await startService(
    {
      ...config,
      server: { ...config.server, heartbeatMs },
      tickets: { ...config.tickets, maxAgeMs: ticketMaxAgeMs },
    },
    log,
  );
  const url = `ws://127.0.0.1:${service.address.port}/v1/ws`;
  const clients: WsClient[] = [];
  onTestFinished(async () => {
    for (const connected of clients) connected.socket.terminate();
    await service.stop();
    await client.db(`${name}-state`).dropDatabase();
  });
  await untilReady(service);
  const connect = async (claims?: Record<string, unknown>, connectOptions: ConnectOptions = {}) => {
    const token = claims === undefined ? {} : { token: await signToken(claims) };
    const connected = await WsClient.connect(url, { ...token, ...connectOptions });
    clients.push(connected);
    return connected;
  };
  /** The cluster time after all writes so far. */
  const now = async () => (await client.db("admin").command({ ping: 1 }))["operationTime"];
  /** Ends when the service has processed all writes so far: a subscription made from here on starts after them. */
  const settled = async () => {
    const observer = await connect({ sub: "observer" });
    await observer.fence(await now());
    observer.socket.terminate();
  };
  return { service, client, db, name, uri, url, file, connect, now, settled };
}

async function untilReady(service: Service): Promise<void> {
  while (!service.readiness().ready) await new Promise((resolve) => setTimeout(resolve, 5));
}
