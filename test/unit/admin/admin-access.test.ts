import type { IncomingMessage } from "node:http";
import { expect, test } from "vitest";
import { AdminAccess } from "../../../src/admin/admin-access.ts";
import { AdminOptions } from "../../../src/gateway/options.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";

const access = (options: object = { token: TOKEN }) => new AdminAccess(AdminOptions.parse(options), 0);

/** A request as far as access looks at it. */
const request = (headers: Record<string, string> = {}) =>
  ({ headers: { host: "127.0.0.1:8481", ...headers } }) as unknown as IncomingMessage; // nothing else is looked at

const bearer = (token: string) => request({ authorization: `Bearer ${token}` });

test("the right token passes, anything else is refused with what to send", () => {
  const own = access();
  expect(own.refuse(bearer(TOKEN), "token", 0)).toBeNull();
  const wrong = [
    request(),
    bearer(TOKEN.slice(1)),
    bearer(`${TOKEN}0`),
    bearer(TOKEN.toUpperCase()),
    bearer(""),
    request({ authorization: TOKEN }),
    request({ authorization: `Basic ${TOKEN}` }),
    request({ authorization: `Bearer ${TOKEN} ${TOKEN}` }),
    request({ cookie: `token=${TOKEN}` }),
  ];
  for (const given of wrong) {
    const refusal = own.refuse(given, "token", 0);
    expect([refusal?.status, refusal?.reason]).toEqual([401, "token"]);
    expect(refusal?.text).toContain("server.admin.token");
    expect(JSON.stringify(refusal)).not.toContain(TOKEN.slice(1, 20));
  }
});

test.each([{}, { token: "" }])(
  "without a configured token every token is refused, and the text says what to set",
  (options) => {
    const none = access(options);
    for (const given of [request(), bearer(TOKEN), bearer(""), bearer("undefined")]) {
      const refusal = none.refuse(given, "token", 0);
      expect([refusal?.status, refusal?.text]).toEqual([
        403,
        expect.stringContaining("set server.admin.token"),
      ]);
    }
  },
);

test("wrong tokens are limited in rate, and never keep the right one out", () => {
  const own = access();
  const statuses = Array.from({ length: 30 }, () => own.refuse(bearer("wrong"), "token", 0)?.status);
  expect(statuses).toEqual([...Array(20).fill(401), ...Array(10).fill(429)]);
  expect(own.refuse(bearer("wrong"), "token", 0)?.headers).toEqual({ "retry-after": "1" });
  expect(own.refuse(bearer(TOKEN), "token", 0)).toBeNull();
  expect(own.refuse(bearer("wrong"), "token", 1_000)?.status).toBe(401);
  expect(own.refuse(bearer("wrong"), "token", 1_000)?.status).toBe(429);
});

test("metrics need the token only where they are protected, but a listed name always", () => {
  expect(access().refuse(request(), "metrics", 0)).toBeNull();
  const own = access({ token: TOKEN, protectMetrics: true });
  expect(own.refuse(request(), "metrics", 0)?.status).toBe(401);
  expect(own.refuse(bearer(TOKEN), "metrics", 0)).toBeNull();
  for (const each of [access(), own]) {
    expect(each.refuse(request({ host: "evil.example" }), "metrics", 0)?.status).toBe(421);
  }
});

test("a name that is not listed is refused even with the right token", () => {
  const refusal = access().refuse(
    request({ host: "evil.example:8481", authorization: `Bearer ${TOKEN}` }),
    "token",
    0,
  );
  expect(refusal).toMatchObject({ status: 421, text: expect.stringContaining("server.admin.hosts") });
});

test.each([
  [{ origin: "http://127.0.0.1:8481" }, null],
  [{ origin: "https://127.0.0.1:8481" }, null],
  [{ "sec-fetch-site": "same-origin" }, null],
  [{ "sec-fetch-site": "none" }, null],
  [{ origin: "http://127.0.0.1:3000" }, "origin"],
  [{ origin: "http://localhost:8481" }, "origin"],
  [{ origin: "http://evil.example" }, "origin"],
  [{ origin: "null" }, "origin"],
  [{ origin: "" }, "origin"],
  [{ "sec-fetch-site": "cross-site" }, "origin"],
  [{ "sec-fetch-site": "same-site" }, "origin"],
])("a page may ask only where it came from the listener itself: %o", (headers, reason) => {
  const refusal = access().refuse(request({ ...headers, authorization: `Bearer ${TOKEN}` }), "token", 0);
  expect(refusal?.reason ?? null).toBe(reason);
});

test.each([
  ["0123456789abcdef0123456789abcdef", true],
  ["0123456789abcdef0123456789abcde", false],
  ["a".repeat(64), false],
  ["0123456789abcdef 0123456789abcdef", false],
  ["0123456789abcdef0123456789abcdéf", false],
  ["", true],
])("which tokens may be configured: %s is %s", (token, isGood) => {
  expect(AdminOptions.safeParse({ token }).success).toBe(isGood);
});

test("protected metrics without a token are a mistake in the configuration", () => {
  expect(AdminOptions.safeParse({ protectMetrics: true }).success).toBe(false);
  expect(AdminOptions.safeParse({ protectMetrics: true, token: "" }).success).toBe(false);
});
