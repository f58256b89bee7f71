import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, test } from "vitest";
import { signToken, type TestServiceOptions } from "../support/service.ts";
import { WsClient } from "../support/ws-client.ts";
import type { Driver, Note, Reader, Scenario, World } from "./scenario.ts";
import { type SharedService, startShared } from "./shared-service.ts";

/** Runs a table on one transport; its scenarios share a service and know nothing of each other. */
export function runScenarios(
  title: string,
  driver: Driver,
  scenarios: readonly Scenario[],
  options: Partial<TestServiceOptions> = {},
): void {
  const own = scenarios.filter(({ only }) => only === undefined || only === driver.name);
  if (own.length === 0) return;
  describe(`${title} over ${driver.name}`, { concurrent: true }, () => {
    let service: SharedService;
    beforeAll(async () => {
      service = await startShared({ ...driver.options, ...options });
    });
    afterAll(() => service?.stop());
    for (const { name, run } of own) {
      test(name, async () => {
        const { world, end } = worldOf(service, driver);
        try {
          await run(world);
        } finally {
          end();
        }
      });
    }
  });
}

function worldOf(service: SharedService, driver: Driver): { world: World; end: () => void } {
  const clients: WsClient[] = [];
  const readers: Reader[] = [];
  const { client, database, url } = service;
  const db = client.db(database);
  const now = async () => (await client.db("admin").command({ ping: 1 }))["operationTime"];
  const world: World = {
    service,
    db,
    me: `user-${randomBytes(6).toString("hex")}`,
    notes: db.collection<Note>("notes"),
    now,
    async follow(claims, request, options = {}) {
      const reader = await driver.follow(service, claims, request, { ...options, now });
      readers.push(reader);
      return reader;
    },
    async connect(claims, { values, headers, expiresInSeconds, token } = {}) {
      const signed = token ?? (claims === null ? undefined : await signToken(claims, expiresInSeconds));
      const connected = await WsClient.connect(url, {
        ...(signed === undefined ? {} : { token: signed }),
        ...(values === undefined ? {} : { values }),
        ...(headers === undefined ? {} : { headers }),
      });
      clients.push(connected);
      return connected;
    },
    async settled() {
      const client = await world.connect({ sub: world.me });
      await client.fence(await now());
      await client.close();
    },
    async open(headers = {}) {
      const opened = await WsClient.connect(url, { silent: true, headers });
      clients.push(opened);
      return opened;
    },
  };
  const end = () => {
    for (const { socket } of clients) socket.terminate();
    for (const reader of readers) reader.leave().catch(() => {});
  };
  return { world, end };
}
