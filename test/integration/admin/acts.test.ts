/** Acts of admins on connections and tokens, each with its entry in the audit. */
import { expect, test } from "vitest";
import { digestOf } from "../../../src/admin/access/digest.ts";
import { API } from "../../../src/admin/api/endpoint.ts";
import { revocationId } from "../../../src/source/revocation-store.ts";
import { configFile, runCommand } from "../../support/command.ts";
import { startTestService } from "../../support/service.ts";

const SECRET = "the-secret-of-ada-who-may-view-and-act";
const ADMIN = { name: "ada", sha256: digestOf(SECRET).toString("hex"), roles: ["view", "act"] };
const COLLECTIONS = { items: { rules: [{ name: "all" }] }, notes: { rules: [{ name: "all" }] } };

/** The fields of the answers that the tests read. */
type Body = Readonly<Record<"connections" | "entries" | "revocations" | "list", readonly Row[]>> & {
  readonly next: string | null;
};
type Row = Readonly<Record<"id" | "sub" | "act" | "node", string>>;

async function start() {
  const started = await startTestService({
    collections: COLLECTIONS,
    server: { node: "rack-1", admin: { port: 0, tokens: [ADMIN] } },
  });
  const url = `http://127.0.0.1:${started.service.adminAddress.port}`;
  const ask = async (path: string, body?: unknown) => {
    const headers = { authorization: `Bearer ${SECRET}`, "content-type": "application/json" };
    const init = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
    const answer = await fetch(url + API + path, init);
    return { status: answer.status, body: (await answer.json()) as Body }; // each test knows its answer
  };
  const idOf = async (sub: string): Promise<string> =>
    (await ask(`/connections?sub=${sub}`)).body.connections[0]?.id ?? "";
  const audit = async () => (await ask("/audit")).body.entries;
  return { ...started, url, ask, idOf, audit };
}

test("connections are listed by user, address and collection, in pages that miss none", async () => {
  const { ask, connect, service } = await start();
  for (const sub of ["ada", "bob", "ada", "cyd", "ada"]) {
    const client = await connect({ sub });
    await client.ask({ type: "subscribe", id: "1", collection: sub === "bob" ? "notes" : "items" });
  }
  const listed = async () => JSON.stringify((await ask("/connections")).body);
  await expect.poll(listed).not.toContain('"isBehind":true');
  const all = (await ask("/connections")).body;
  expect(all.next).toBeNull();
  expect(all.connections).toHaveLength(5);
  expect(all.connections[0]).toEqual({
    id: expect.stringContaining(`${service.id}.`),
    node: "rack-1",
    sub: expect.any(String),
    address: "127.0.0.1",
    transport: "ws",
    client: null,
    connectedAt: expect.stringMatching(/Z$/),
    subscriptions: 1,
    outboxBytes: expect.any(Number),
    isBehind: false,
  });
  const subsOf = async (query: string) =>
    (await ask(`/connections?${query}`)).body.connections.map(({ sub }: Row) => sub).sort();
  expect(await subsOf("sub=ada")).toEqual(["ada", "ada", "ada"]);
  expect(await subsOf("collection=notes")).toEqual(["bob"]);
  expect(await subsOf("address=10.0.0.1")).toEqual([]);
  const seen: string[] = [];
  for (let after = ""; ; ) {
    const { body } = await ask(`/connections?limit=2${after === "" ? "" : `&after=${after}`}`);
    expect(body.connections.length).toBeLessThanOrEqual(2);
    seen.push(...body.connections.map(({ id }: Row) => id));
    if (body.next === null) break;
    after = body.next ?? "";
  }
  expect(seen).toEqual(all.connections.map(({ id }: Row) => id));
  expect((await ask("/connections?limit=200")).status).toBe(200);
  expect((await ask("/connections?limit=201")).status).toBe(400);
  expect((await ask("/connections?limit=0")).status).toBe(400);
});

test("one connection shows its subscriptions with rule, live query, state and lag", async () => {
  const { ask, idOf, connect } = await start();
  const client = await connect({ sub: "ada" });
  await client.ask({ type: "subscribe", id: "mine", collection: "items", filter: { owner: "ada" } });
  await client.until(({ type }) => type === "snapshot");
  const id = await idOf("ada");
  await expect
    .poll(async () => (await ask(`/connections/${id}`)).body.list, { timeout: 60_000 })
    .toEqual([
      {
        id: "mine",
        collection: "items",
        rule: "all",
        liveQuery: expect.stringMatching(/^[0-9a-f]{12}\.\d+$/),
        state: "live",
        lagCommits: 0,
      },
    ]);
  const unknown = id.replace(/-[0-9a-f]{12}$/, "-000000000000");
  expect(await ask(`/connections/${unknown}`)).toMatchObject({
    status: 404,
    body: { code: "no-connection" },
  });
  expect((await ask("/connections/nonsense")).status).toBe(400);
});

test("disconnect closes one connection with 4003, says that it does not last, and is in the audit", async () => {
  const { ask, idOf, audit, connect } = await start();
  const [ada, bob] = [await connect({ sub: "ada" }), await connect({ sub: "bob" })];
  await ada.ask({ type: "subscribe", id: "1", collection: "items" });
  const id = await idOf("ada");
  expect(await ask(`/connections/${id}/disconnect`, {})).toEqual({
    status: 200,
    body: { changed: 0, ended: 1, lasts: false, note: expect.stringContaining("may connect again") },
  });
  expect((await ada.untilClosed()).code).toBe(4003);
  expect(bob.closed).toBeUndefined();
  expect(await audit()).toEqual([
    {
      id: expect.any(String),
      at: expect.stringMatching(/Z$/),
      admin: "token:ada",
      act: "disconnect",
      target: { connection: id, sub: "ada", address: "127.0.0.1" },
      from: "127.0.0.1",
      node: "rack-1",
    },
  ]);
  // There is nothing to do, so nothing is recorded.
  expect((await ask(`/connections/${id}/disconnect`, {})).status).toBe(404);
  expect(await audit()).toHaveLength(1);
});

test("re-authorize applies the rules in force to one connection, and changes nothing that is right", async () => {
  const { ask, idOf, audit, connect } = await start();
  const ada = await connect({ sub: "ada" });
  await ada.ask({ type: "subscribe", id: "1", collection: "items" });
  const answer = await ask(`/connections/${await idOf("ada")}/reauthorize`, {});
  expect(answer).toMatchObject({ status: 200, body: { changed: 0, ended: 0, lasts: false } });
  expect(ada.closed).toBeUndefined();
  expect(await audit()).toMatchObject([{ act: "reauthorize" }]);
});

test("revoke, its list and its undo work by the API and by the command, and are in the audit", async () => {
  const { ask, audit, connect, url } = await start();
  const command = (args: readonly string[], env = { TIDEWIRE_ADMIN_TOKEN: SECRET }) =>
    runCommand(["revoke", "--admin", url, ...args], { env, now: () => Date.now() });
  const ada = await connect({ sub: "ada" });
  expect(await ask("/revocations", { sub: "ada" })).toMatchObject({
    status: 200,
    body: { revocation: { sub: "ada", iss: null, jti: null }, lasts: true },
  });
  expect((await ada.untilClosed()).code).toBe(4102);
  expect((await ask("/revocations")).body).toMatchObject({ next: null, revocations: [{ sub: "ada" }] });
  expect(await command(["--list"])).toMatchObject({ code: 0, out: expect.stringContaining('sub "ada"') });
  expect(await command(["--undo", "--sub", "ada"])).toMatchObject({ code: 0 });
  expect(await command(["--undo", "--sub", "ada"])).toMatchObject({
    code: 1,
    err: expect.stringContaining("no such revocation"),
  });
  expect(await command(["--sub", "bob", "--jti", "7", "--for", "1h"])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^revoked until \S+Z: sub "bob" jti "7"$/),
  });
  expect(await command(["--list"], { TIDEWIRE_ADMIN_TOKEN: "" })).toMatchObject({
    code: 1,
    err: expect.stringContaining("set TIDEWIRE_ADMIN_TOKEN"),
  });
  const entries = await audit();
  expect(entries.map(({ act }) => act)).toEqual(["revoke", "undo-revocation", "undo-revocation", "revoke"]);
  expect(entries[0]).toMatchObject({
    admin: "token:ada",
    target: { sub: "bob", jti: "7", issuedBefore: null },
  });
});

test("the command on the state database leaves an entry as well", async () => {
  const { audit, file } = await start();
  const config = await configFile(file);
  expect(await runCommand(["revoke", "--config", config, "--sub", "eve"])).toMatchObject({ code: 0 });
  expect(await audit()).toMatchObject([
    { act: "revoke", admin: expect.stringContaining("command line: "), target: { sub: "eve" } },
  ]);
});

test("an act whose entry cannot be written does not happen", async () => {
  const { ask, idOf, audit, connect, client, name } = await start();
  const ada = await connect({ sub: "ada" });
  const id = await idOf("ada");
  const state = client.db(`${name}-state`);
  await ask("/revocations", { sub: "zoe" });
  const refuseWrites = { collMod: "audit", validator: { $expr: false }, validationLevel: "strict" };
  await state.command(refuseWrites);
  const nothing = {
    status: 503,
    body: { code: "unavailable", error: expect.stringContaining("nothing was done") },
  };
  expect(await ask(`/connections/${id}/disconnect`, {})).toEqual(nothing);
  expect(await ask(`/connections/${id}/reauthorize`, {})).toEqual(nothing);
  expect(await ask("/revocations", { sub: "ada" })).toEqual(nothing);
  expect(await ask("/revocations/undo", { sub: "zoe" })).toEqual(nothing);
  expect(ada.closed).toBeUndefined();
  expect((await ask("/revocations")).body.revocations).toMatchObject([{ sub: "zoe" }]);
  await state.command({ collMod: "audit", validator: {} });
  expect(await audit()).toHaveLength(1);
  expect((await ask(`/connections/${id}/disconnect`, {})).status).toBe(200);
});

test("the audit is read in pages, by admin and by act, and expires by an index", async () => {
  const { ask, client, name } = await start();
  for (const sub of ["a", "b", "c"]) await ask("/revocations", { sub });
  await ask("/revocations/undo", { sub: "a" });
  const first = (await ask("/audit?limit=3")).body;
  expect(first.entries).toHaveLength(3);
  const rest = (await ask(`/audit?limit=3&before=${first.next}`)).body;
  expect(rest).toMatchObject({ entries: [{ target: { sub: "a" } }], next: null });
  expect((await ask("/audit?act=undo-revocation")).body.entries).toHaveLength(1);
  expect((await ask("/audit?admin=nobody")).body.entries).toHaveLength(0);
  expect((await ask("/audit?before=x")).status).toBe(400);
  const saved = client.db(`${name}-state`).collection("audit");
  const entry = await saved.findOne({});
  expect(entry?.["expiresAt"] - entry?.["at"]).toBe(365 * 86_400_000);
  expect(await saved.indexes()).toContainEqual(expect.objectContaining({ expireAfterSeconds: 0 }));
});

test("revocations are read in pages, of which each costs the same however many there are, and by user", async () => {
  const { ask, client, name, url } = await start();
  const expiresAt = new Date(Date.now() + 3_600_000);
  const saved = Array.from({ length: 450 }, (_, n) => {
    const [iss, sub] = [n % 2 === 0 ? null : "https://login.example", `user "${String(n).padStart(3, "0")}"`];
    return {
      _id: revocationId({ iss, sub, jti: null }),
      sub,
      iss,
      jti: null,
      issuedBefore: new Date(),
      expiresAt,
    };
  });
  await client.db(`${name}-state`).collection<(typeof saved)[number]>("revocations").insertMany(saved);
  const subs: string[] = [];
  for (let after = ""; ; ) {
    const { revocations, next } = (await ask(`/revocations?limit=200${after}`)).body;
    expect(revocations.length).toBeLessThanOrEqual(200);
    subs.push(...revocations.map(({ sub }) => sub));
    if (next === null) break;
    after = `&after=${encodeURIComponent(next)}`;
  }
  expect(subs.toSorted()).toEqual(saved.map(({ sub }) => sub).toSorted());
  expect((await ask("/revocations?limit=201")).status).toBe(400);
  const one = (await ask(`/revocations?sub=${encodeURIComponent('user "007"')}`)).body;
  expect(one).toMatchObject({ revocations: [{ sub: 'user "007"' }], next: null });
  const env = { TIDEWIRE_ADMIN_TOKEN: SECRET };
  const listed = await runCommand(["revoke", "--admin", url, "--list"], { env });
  expect(listed.out.split("\n").filter((line) => line.includes("user"))).toHaveLength(450);
});
