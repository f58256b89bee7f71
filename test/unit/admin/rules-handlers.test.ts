/** The bounds of tries and comparisons, which run in the process that serves clients. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { expect, test } from "vitest";
import { Acts } from "../../../src/admin/api/acts.ts";
import { DraftAudit } from "../../../src/admin/api/draft-audit.ts";
import type { Call } from "../../../src/admin/api/endpoint.ts";
import { ruleSetHandlers } from "../../../src/admin/api/rule-set-handlers.ts";
import { rulesHandlers } from "../../../src/admin/api/rules-handlers.ts";
import type { Processes } from "../../../src/admin/questions.ts";

/** The processes of a listener; the second one holds the connection, as long as `held` says so. */
function parts(roles: readonly string[] = ["view", "edit", "documents"], tries = 3) {
  const asked: string[] = [];
  const told: unknown[] = [];
  const held: { sub: string | null; connectedAtMs: number | null; answers: unknown } = {
    sub: "ada",
    connectedAtMs: 0,
    answers: { outcome: "allowed" },
  };
  const gates: (() => void)[] = [];
  const processes = {
    one: async (question: string, value: unknown) => {
      asked.push(question);
      if (question === "addAudit") told.push((value as { target: unknown }).target);
      if (question === "tryRequest" || question === "diffRuleSets")
        await new Promise<void>((resolve) => gates.push(resolve));
      return { unreadable: "" };
    },
    all: async (question: string, value: unknown) => {
      if (question === "overview") return [{ status: { id: "n" } }];
      if (question === "connection") return [null, held];
      asked.push(question);
      told.push(value);
      return [null, held.answers];
    },
  } as unknown as Processes;
  const admin = { name: "eve", roles: new Set(roles), expiresAtMs: null, isTrusted: () => true };
  const call: Call = {
    sender: { admin, session: null } as unknown as Call["sender"],
    from: "",
    nowMs: 0,
    request: {} as IncomingMessage,
    response: {} as ServerResponse,
  };
  const acts = new Acts(processes);
  const { tryAs } = rulesHandlers(processes, acts, { tries });
  const { ruleSetDiff } = ruleSetHandlers({
    processes,
    acts,
    audit: new DraftAudit(acts),
    plan: () => Promise.reject(new Error("unused")),
  });
  const open = () => {
    for (const gate of gates.splice(0)) gate();
  };
  const ask = (claims: object, draft: string | null = null) =>
    tryAs(call, { collection: "orders", claims, draft } as never);
  const askAs = (connection: string, draft: string | null = null) =>
    tryAs(call, { collection: "orders", claims: null, connection, draft } as never);
  return { asked, told, held, ask, askAs, call, ruleSetDiff, open };
}

const settle = () => new Promise(setImmediate);

test("a fourth try at the same time is refused, and another one is answered afterwards", async () => {
  const { ask, open } = parts();
  const tries = [1, 2, 3].map((n) => ask({ sub: `u${n}` }));
  await settle();
  await expect(ask({ sub: "u4" })).rejects.toMatchObject({ status: 429, code: "busy" });
  open();
  await Promise.all(tries);
  const again = ask({ sub: "u4" });
  await settle();
  open();
  await again;
});

test("server.admin.tries says how many tries run at a time", async () => {
  const { ask, open } = parts(["view"], 1);
  const first = ask({ sub: "u1" });
  await settle();
  await expect(ask({ sub: "u2" })).rejects.toMatchObject({
    message: expect.stringContaining("server.admin.tries"),
  });
  open();
  await first;
});

test("claims that no token could carry are refused before anything is evaluated", async () => {
  const { ask, asked, open } = parts();
  const claims = (length: number) => ({ sub: "x".repeat(length - '{"sub":""}'.length) });
  await expect(ask(claims(32_769))).rejects.toMatchObject({ status: 413, code: "too-large" });
  expect(asked).toEqual([]);
  const fits = ask(claims(32_768));
  await settle();
  open();
  await fits;
});

test("a try under another draft is an act of its own, because a draft decides which collections are read", async () => {
  const { ask, asked, open } = parts();
  for (const draft of ["a", "a", "b"]) {
    const answer = ask({ sub: "u" }, draft);
    await settle();
    open();
    await answer;
  }
  expect(asked.filter((question) => question !== "tryRequest")).toHaveLength(2);
});

test("a try as a connection asks the process that holds it, and its entry in the audit names the user", async () => {
  const { askAs, asked, told } = parts(["view"]);
  expect(await askAs("n.1")).toEqual({ outcome: "allowed" });
  await askAs("n.1");
  expect(asked).toEqual(["addAudit", "tryRequest", "tryRequest"]);
  expect(told[0]).toEqual({ collection: "orders", sub: "ada", connection: "n.1" });
  expect(told[1]).toMatchObject({ as: { connection: "n.1", sub: "ada" }, mayReadDocuments: false });
  expect(JSON.stringify(told)).not.toContain("claims");
});

test("another user of the same connection is an act of its own", async () => {
  const { askAs, asked, held } = parts();
  await askAs("n.1");
  held.sub = "ben";
  await askAs("n.1");
  expect(asked.filter((question) => question === "addAudit")).toHaveLength(2);
});

test("a draft is tried with the role edit, and as a connection with documents as well, because conditions could find out claims", async () => {
  for (const roles of [
    ["view", "edit", "act"],
    ["view", "act", "documents"],
  ]) {
    const refused = parts(roles);
    await expect(refused.askAs("n.1", "collections: {}")).rejects.toMatchObject({
      status: 403,
      code: "role",
    });
    expect(refused.asked).toEqual([]);
  }
  const viewer = parts(["view", "act", "documents"]);
  await expect(viewer.ask({}, "collections: {}")).rejects.toMatchObject({ status: 403, code: "role" });
  expect(viewer.asked).toEqual([]);
  expect(await parts().askAs("n.1", "collections: {}")).toEqual({ outcome: "allowed" });
});

test("a connection that has ended, also meanwhile, or has no user yet is refused", async () => {
  const { askAs, held, asked } = parts();
  held.answers = null;
  await expect(askAs("n.1")).rejects.toMatchObject({ status: 404, code: "no-connection" });
  held.connectedAtMs = null;
  asked.length = 0;
  await expect(askAs("n.1")).rejects.toMatchObject({ status: 409, code: "no-user" });
  expect(asked).toEqual([]);
});

test("rule sets are compared one at a time, because each comparison takes a thread", async () => {
  const { ruleSetDiff, call, open } = parts();
  const compare = async () => ruleSetDiff(call, { number: 1, to: 2 } as never);
  const first = compare();
  await settle();
  await expect(compare()).rejects.toMatchObject({ status: 429, code: "busy" });
  open();
  await expect(first).rejects.toMatchObject({ code: "unreadable-set" });
});
