/**
 * Requests of admins that are valid JSON, and shaped to break a parser, a serializer or the event loop. Each is answered or refused;
 * none is an unexpected error of the service, and clients go on being answered.
 */
import { expect, test } from "vitest";
import { digestOf } from "../../../src/admin/access/digest.ts";
import { API } from "../../../src/admin/api/endpoint.ts";
import { ADMIN_ROLES, type AdminRole } from "../../../src/gateway/admin-options.ts";
import { startTestService } from "../../support/service.ts";

const secretOf = (role: string) => `a-secret-of-an-admin-with-the-role-${role}`;
const tokens = ADMIN_ROLES.map((role) => ({
  name: role,
  sha256: digestOf(secretOf(role)).toString("hex"),
  roles: [...new Set(["view", role])],
}));

/** JSON text that nests a value so many times. */
const nested = (open: string, close: string, levels: number) => open.repeat(levels) + close.repeat(levels);

const HOSTILE: readonly (readonly [string, string])[] = [
  ["lists in lists", nested("[", "]", 15_000)],
  ["objects in objects", `${nested('{"a":', "}", 5_000).replace("}", "1}")}`],
  ["operators in operators", `${nested('{"$not":', "}", 4_000).replace("}", "1}")}`],
  ["a key of prototypes", '{"__proto__":{"sub":"ada"},"constructor":{"prototype":1},"toString":1}'],
  ["types of the serializer", '{"_bsontype":"ObjectId","id":1,"$oid":"x","$date":{"$numberLong":"x"}}'],
  ["a length that is no number", '{"length":{"toString":1,"valueOf":1},"toString":1,"valueOf":1}'],
  ["a lone surrogate and a null", '"\\ud800\\u0000"'],
  ["a very long text", JSON.stringify("x".repeat(50_000))],
  ["a number beyond doubles", "1e999"],
  ["a pattern that backtracks", '{"$regex":"(a+)+(a+)+(a+)+$"}'],
];

/** Each place of a request into which an admin with one role can put any JSON. */
const PLACES: readonly (readonly [AdminRole, string, string, (value: string) => string])[] = [
  ["view", "POST", "/try", (value) => `{"collection":"items","claims":{"sub":"ada","deep":${value}}}`],
  ["view", "POST", "/try", (value) => `{"collection":"items","claims":{"sub":${value}}}`],
  ["view", "POST", "/try", (value) => `{"collection":"items","claims":{},"filter":{"a":${value}}}`],
  ["view", "POST", "/try", (value) => `{"collection":"items","claims":{},"sort":${value},"limit":1}`],
  ["view", "POST", "/try", (value) => `{"collection":"items","claims":{},"aggregate":${value}}`],
  ["view", "POST", "/try", (value) => `{"collection":"items","claims":{},"documentId":${value}}`],
  ["documents", "POST", "/try", (value) => `{"collection":"items","claims":{},"documentId":${value}}`],
  ["act", "POST", "/traces", (value) => `{"collection":"items","documentId":${value},"seconds":1}`],
  ["act", "POST", "/traces", (value) => `{"sub":${value},"seconds":1}`],
  ["act", "POST", "/revocations", (value) => `{"sub":${value}}`],
  ["act", "POST", "/revocations/undo", (value) => `{"sub":${value}}`],
  ["view", "POST", "/test-rules", (value) => `{"text":"collections: {}","tests":${value}}`],
  ["edit", "POST", "/rules/apply", (value) => `{"text":${value},"message":"m","parent":1}`],
];

async function start() {
  const started = await startTestService({
    collections: { items: { rules: [{ name: "own", when: { "%%user.sub": "ada" } }, { name: "all" }] } },
    rules: { from: "database" },
    server: { admin: { port: 0, tokens, requestBytes: "256KiB", traces: 20 } },
  });
  const base = `http://127.0.0.1:${started.service.adminAddress.port}`;
  const send = async (role: AdminRole, method: string, path: string, body: string) => {
    const headers = { authorization: `Bearer ${secretOf(role)}`, "content-type": "application/json" };
    const answer = await fetch(`${base}${API}${path}`, { method, headers, body });
    await answer.text();
    return answer.status;
  };
  const faults = async () => {
    const text = await (await fetch(`${base}/metrics`)).text();
    return text.match(/^tidewire_unexpected_errors_total\{.*$/gm) ?? [];
  };
  return { ...started, send, faults };
}

test.each(HOSTILE)(
  "%s: answered or refused in every place, without an unexpected error",
  async (_what, value) => {
    const { send, faults, connect, now } = await start();
    const client = await connect({ sub: "ben" });
    for (const [role, method, path, bodyWith] of PLACES) {
      const status = await send(role, method, path, bodyWith(value));
      expect([path, bodyWith("…"), status < 500]).toEqual([path, bodyWith("…"), true]);
    }
    await client.fence(await now());
    expect((await faults()).filter((line) => !line.endsWith(" 0"))).toEqual([]);
  },
);

test("a body has at most 100 levels of lists and objects", async () => {
  const { send } = await start();
  const body = (levels: number) => `{"collection":"items","claims":{"deep":${nested("[", "]", levels - 2)}}}`;
  expect(await send("view", "POST", "/try", body(100))).toBe(200);
  expect(await send("view", "POST", "/try", body(101))).toBe(400);
});
