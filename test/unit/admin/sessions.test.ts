import type { IncomingMessage } from "node:http";
import { expect, test } from "vitest";
import type { Admin } from "../../../src/admin/access/admin.ts";
import { sessionCookie, sessionIdOf } from "../../../src/admin/access/session-cookie.ts";
import { type SessionLimits, Sessions } from "../../../src/admin/access/sessions.ts";

const HOUR_MS = 3_600_000;
const LIMITS: SessionLimits = { sessions: 2, sessionsPerAdmin: 2, sessionLifetimeMs: 12 * HOUR_MS };

/** Sessions, their present number, and the limits that ended some. */
function start(limits = LIMITS) {
  let count = 0;
  const ended: string[] = [];
  const sessions = new Sessions(limits, {
    counted: (now) => {
      count = now;
    },
    ended: (limit) => ended.push(limit),
  });
  return { sessions, count: () => count, ended };
}

const admin = (more: Partial<Admin> = {}): Admin => ({
  name: "ada",
  roles: new Set(["view"] as const),
  expiresAtMs: null,
  isTrusted: () => true,
  ...more,
});

test("a session lasts as long as server.admin.sessionLifetime, and not a millisecond longer", () => {
  const { sessions } = start();
  const { id, session } = sessions.begin(admin(), 0);
  expect(sessions.find(id, 12 * HOUR_MS - 1)).toBe(session);
  expect(sessions.find(id, 12 * HOUR_MS)).toBeNull();
  expect(sessions.find(id, 0)).toBeNull();
});

test("a session ends with the token that opened it, and when the key of the token is retired", () => {
  const { sessions } = start();
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
  const { sessions, count, ended } = start();
  const ids = ["ada", "ben", "eve"].map((name) => sessions.begin(admin({ name }), 0).id);
  expect(new Set(ids).size).toBe(3);
  expect(ids.map((id) => sessions.find(id, 0) !== null)).toEqual([false, true, true]);
  expect([count(), ended]).toEqual([2, ["sessions"]]);
  // Sessions that have ended make room first.
  sessions.begin(admin(), 12 * HOUR_MS);
  expect([count(), ended]).toEqual([1, ["sessions"]]);
});

test("the sessions of one admin are bounded: one more ends the oldest of that admin, and none of others", () => {
  const { sessions, ended } = start({ ...LIMITS, sessions: 10 });
  const other = sessions.begin(admin({ name: "ben" }), 0);
  const ids = [1, 2].map(() => sessions.begin(admin(), 0).id);
  expect(ended).toEqual([]);
  ids.push(sessions.begin(admin(), 0).id);
  expect(ids.map((id) => sessions.find(id, 0) !== null)).toEqual([false, true, true]);
  expect(sessions.find(other.id, 0)).not.toBeNull();
  expect(ended).toEqual(["sessionsPerAdmin"]);
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
