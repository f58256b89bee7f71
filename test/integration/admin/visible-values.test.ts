/** Values of documents and of claims, in every answer of the API, for admins who may not see them. */
import { describe, expect, onTestFinished, test } from "vitest";
import { digestOf } from "../../../src/admin/access/digest.ts";
import { API, type EndpointSpec } from "../../../src/admin/api/endpoint.ts";
import { ENDPOINTS, type Operation } from "../../../src/admin/api/endpoints.ts";
import type { AdminRole } from "../../../src/gateway/admin-options.ts";
import { until } from "../../support/mongod.ts";
import { startTestService } from "../../support/service.ts";

const CLAIM = "value-of-a-claim";
const LOOKED_UP = "value-that-a-lookup-read";
const ASKED = "value-of-a-filter";
const STORED = "value-of-a-document";
const ID = "id-of-a-document";

const COLLECTIONS = {
  orders: {
    lookups: { shops: { collection: "members", filter: { user: "%%user.sub" }, value: "shop" } },
    rules: [
      {
        name: "team",
        when: { $or: [{ "%%user.team": "red" }, { "%%user.team": CLAIM }] },
        filter: { team: "%%user.team", shop: { $in: "%%lookup.shops" } },
      },
    ],
  },
};
const DRAFT = `collections:
  orders: { rules: [{ name: probe, when: { "%%user.team": { $regex: "^value-of" } } }] }
`;

const secretOf = (roles: readonly AdminRole[]) =>
  `the secret of ${roles.join(" and ")} for a test`.replaceAll(" ", "-");
const ROLES: readonly (readonly AdminRole[])[] = [
  ["view"],
  ["view", "act"],
  ["view", "edit"],
  ["view", "act", "edit"],
  ["view", "documents"],
  ["view", "act", "edit", "documents"],
];
const tokens = ROLES.map((roles, n) => ({
  name: `n${n}`,
  sha256: digestOf(secretOf(roles)).toString("hex"),
  roles,
}));

async function start() {
  const { service, connect, db, name } = await startTestService({
    collections: COLLECTIONS,
    server: { admin: { port: 0, tokens } },
    rules: { record: "7d" },
  });
  await db.collection("members").insertOne({ user: "ada", shop: LOOKED_UP });
  const client = await connect({ sub: "ada", team: CLAIM });
  await client.ask({ type: "subscribe", id: "1", collection: "orders", filter: { note: ASKED } });
  onTestFinished(() => client.socket.terminate());
  const as = (roles: readonly AdminRole[]) => async (method: string, path: string, body?: unknown) => {
    const isText = typeof body === "string";
    const answer = await fetch(`http://127.0.0.1:${service.adminAddress.port}${API}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${secretOf(roles)}`,
        "content-type": isText ? "text/plain" : "application/json",
      },
      ...(body === undefined ? {} : { body: isText ? body : JSON.stringify(body) }),
    });
    return { status: answer.status, text: await answer.text() };
  };
  const write = () =>
    db
      .collection<{ _id: string }>("orders")
      .insertOne({ _id: ID, team: CLAIM, shop: LOOKED_UP, note: ASKED, secret: STORED } as never);
  return { as, write, client, draft: `mongodb: { database: ${name} }\n${DRAFT}` };
}

/** Requests that could show values. `GET /rules` shows the constants of rules, and so does what shows rules alone. */
const requestsOf = (connection: string, liveQuery: string, draft: string) => {
  const asked = { connection, collection: "orders", documentId: ID };
  return {
    overview: ["/overview"],
    connections: ["/connections"],
    connection: [`/connections/${connection}`],
    liveQueries: ["/live-queries"],
    liveQuery: [`/live-queries/${liveQuery}`],
    revocations: ["/revocations"],
    ruleNames: ["/rules/names?collection=orders"],
    tryAs: ["/try", asked],
    plan: ["/plan", draft],
    audit: ["/audit"],
  } as const satisfies Partial<Record<Operation, readonly [string, unknown?]>>;
};

const hides = (roles: readonly AdminRole[]) => !roles.includes("documents");

describe.each(ROLES)("%s %s %s %s", (...roles) => {
  test("no answer has a value that the roles do not show, and nobody tries a draft without the role edit", async () => {
    const { as, write, client, draft } = await start();
    const ask = as(roles);
    const [{ id: connection }] = JSON.parse((await ask("GET", "/connections")).text).connections;
    const [{ id: liveQuery }] = JSON.parse((await ask("GET", "/live-queries")).text).liveQueries;
    const mayTrace = roles.includes("act");
    const started = await ask("POST", "/traces", { sub: "ada" });
    expect(started.status).toBe(mayTrace ? 200 : 403);
    await write();
    await client.until(({ type }) => type === "added");
    const answers: Record<string, string> = {};
    for (const [operation, [path, body]] of Object.entries(requestsOf(connection, liveQuery, draft))) {
      const { role, method }: EndpointSpec = ENDPOINTS[operation as Operation];
      const { status, text } = await ask(method, path, body);
      expect([operation, status]).toEqual([
        operation,
        (roles as readonly string[]).includes(role) ? 200 : 403,
      ]);
      answers[operation] = text;
    }
    if (mayTrace) {
      const { id } = JSON.parse(started.text);
      const entries = async () => JSON.parse((await ask("GET", `/traces/${id}`)).text).entries;
      await until("both entries", async () => (await entries()).length >= 2 || undefined);
      answers["readTrace"] = JSON.stringify(await entries());
      expect(answers["readTrace"].includes(CLAIM)).toBe(!hides(roles));
    }
    for (const [operation, text] of Object.entries(answers))
      for (const value of [CLAIM, LOOKED_UP, ASKED, STORED, ID])
        if (hides(roles)) expect([operation, text]).toEqual([operation, expect.not.stringContaining(value)]);
    if (!hides(roles)) {
      expect(answers["liveQuery"]).toContain(CLAIM);
      expect(answers["tryAs"]).toContain(STORED);
    }
    const mayTryDraft = roles.includes("edit");
    const byClaims = { claims: { sub: "ada", team: "blue" }, collection: "orders", draft };
    expect((await ask("POST", "/try", byClaims)).status).toBe(mayTryDraft ? 200 : 403);
    const byConnection = { connection, collection: "orders", draft };
    expect((await ask("POST", "/try", byConnection)).status).toBe(mayTryDraft && !hides(roles) ? 200 : 403);
    expect((await ask("POST", "/rules/replay", draft)).status).toBe(mayTryDraft ? 200 : 403);
  });
});
