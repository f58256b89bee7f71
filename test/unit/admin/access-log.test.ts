import { pino } from "pino";
import { expect, test } from "vitest";
import { AccessLog } from "../../../src/admin/access/access-log.ts";

test("names the sender of a refused request once a minute for each reason, with the number of those left out", () => {
  const lines: Record<string, unknown>[] = [];
  const log = new AccessLog(pino({ base: null }, { write: (text) => void lines.push(JSON.parse(text)) }));
  log.refused("token", "192.0.2.1", 0);
  log.refused("token", "192.0.2.2", 1_000);
  log.refused("token-rate", "192.0.2.3", 2_000);
  log.refused("token", "192.0.2.4", 60_000);
  const msg = "refused a request to the admin listener";
  expect(lines).toMatchObject([
    { msg, reason: "token", address: "192.0.2.1" },
    { msg, reason: "token-rate", address: "192.0.2.3" },
    { msg, reason: "token", address: "192.0.2.4", unlogged: 1 },
  ]);
});

test("names every admin who logs in", () => {
  const lines: Record<string, unknown>[] = [];
  const log = new AccessLog(pino({ base: null }, { write: (text) => void lines.push(JSON.parse(text)) }));
  log.loggedIn({ name: "token:ada", roles: new Set(["view"]) } as never, "192.0.2.1");
  expect(lines).toMatchObject([
    { msg: "an admin has logged in", admin: "token:ada", roles: ["view"], address: "192.0.2.1" },
  ]);
});
