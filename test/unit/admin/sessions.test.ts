import type { IncomingMessage } from "node:http";
import { expect, test } from "vitest";
import type { Admin } from "../../../src/admin/access/admin.ts";
import { sessionCookie, sessionIdOf } from "../../../src/admin/access/session-cookie.ts";
import { Sessions } from "../../../src/admin/access/sessions.ts";

const HOUR_MS = 3_600_000;
const LIMITS = { sessions: 2, sessionLifetimeMs: 12 * HOUR_MS };

const admin = (more: Partial<Admin> = {}): Admin => ({
  name: "ada",
  roles: new Set(["view"] as const),
  expiresAtMs: null,
  isTrusted: () => true,
  ...more,
});

test("a session lasts as long as server.admin.sessionLifetime, and not a millisecond longer", () => {
  const sessions = new Sessions(LIMITS, () => {});
  const { id, session } = sessions.begin(admin(), 0);
  expect(sessions.find(id, 12 * HOUR_MS - 1)).toBe(session);
  expect(sessions.find(id, 12 * HOUR_MS)).toBeNull();
  expect(sessions.find(id, 0)).toBeNull();
});

test("a session ends with the token that opened it, and when the key of the token is retired", () => {
  const sessions = new Sessions(LIMITS, () => {});
  let isTrusted = true;
  const { id } = sessions.begin(admin({ expiresAtMs: 1_000, isTrusted: () => isTrusted }), 0);
  expect(sessions.find(id, 999)).not.toBeNull();
  expect(sessions.find(id, 1_000)).toBeNull();
  const other = sessions.begin(admin({ isTrusted: () => isTrusted }), 0);
  expect(sessions.find(other.id, 1)).not.toBeNull();
  isTrusted = false;
  expect(sessions.find(other.id, 1)).toBeNull();
});

test("sessions are bounded in number: one more ends the oldest", () => {
  let count = 0;
  const sessions = new Sessions(LIMITS, (sessionsNow) => {
    count = sessionsNow;
  });
  const ids = [1, 2, 3].map(() => sessions.begin(admin(), 0).id);
  expect(new Set(ids).size).toBe(3);
  expect(ids.map((id) => sessions.find(id, 0) !== null)).toEqual([false, true, true]);
  expect(count).toBe(2);
  // Sessions that have ended make room first.
  sessions.begin(admin(), 12 * HOUR_MS);
  expect(count).toBe(1);
});

const request = (headers: Record<string, string>) => ({ headers }) as unknown as IncomingMessage; // nothing else is looked at

test("the cookie is out of reach of scripts and of other sites, secure under TLS, and one for each port", () => {
  const plain = request({ host: "localhost:8481", origin: "http://localhost:8481" });
  expect(sessionCookie(plain, "id", 60_000)).toBe(
    "tidewire-admin-8481=id; Path=/; HttpOnly; SameSite=Strict; Max-Age=60",
  );
  const tls = request({ host: "ops.example", origin: "https://ops.example" });
  expect(sessionCookie(tls, "id", 60_000)).toBe(
    "tidewire-admin-default=id; Path=/; HttpOnly; SameSite=Strict; Max-Age=60; Secure",
  );
  expect(sessionIdOf(request({ host: "localhost:1", cookie: "x=1; tidewire-admin-1=a; y" }))).toBe("a");
  expect(sessionIdOf(request({ host: "localhost:2", cookie: "tidewire-admin-1=a" }))).toBeNull();
});
