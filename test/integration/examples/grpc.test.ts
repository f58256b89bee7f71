/** The followers of examples/grpc in Python and Go, each generated from the published .proto. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, type TestContext, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { grpcGo, grpcPython } from "../../support/grpc-stubs.ts";
import { skipWithout } from "../../support/installed.ts";
import { Program } from "../../support/program.ts";
import { signToken, startTestService } from "../../support/service.ts";

const PATIENCE = { timeout: 60_000 };
const TIMEOUT = { timeout: 900_000 };
const collections = { orders: { rules: [{ name: "owner", filter: { owner: "%%user.sub" } }] } };

interface Follower {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Record<string, string>;
}

const FOLLOWERS: readonly (readonly [string, (skip: TestContext["skip"]) => Promise<Follower>])[] = [
  [
    "Python",
    async (skip) => {
      const found = await grpcPython();
      if ("missing" in found) return skipWithout(skip, found.missing);
      const args = [join(ROOT, "examples", "grpc", "python", "follow.py")];
      return { command: found.python, args, env: { PYTHONPATH: found.stubs, PYTHONDONTWRITEBYTECODE: "1" } };
    },
  ],
  [
    "Go",
    async (skip) => {
      const found = await grpcGo();
      if ("missing" in found) return skipWithout(skip, found.missing);
      return { command: found.program, args: [], env: {} };
    },
  ],
];

async function start(follower: Follower) {
  const { service, db } = await startTestService({ collections, server: { grpc: { port: 0 } } });
  const folder = await mkdtemp(join(tmpdir(), "tidewire-grpc-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const address = `127.0.0.1:${service.grpcAddress?.port}`;
  const run = (token: string) =>
    new Program(follower.command, [...follower.args, address, "orders", '{"open":true}'], {
      ...follower.env,
      STATE: join(folder, "state.json"),
      TIDEWIRE_TOKEN: token,
    });
  return { orders: db.collection<Order>("orders"), run };
}

interface Order {
  readonly _id: number;
  readonly owner: string;
  readonly open: boolean;
  readonly big?: bigint;
}

/** The document in the form of the lines. */
const order = (_id: number, more: object = {}) => ({
  _id,
  owner: "ada",
  open: true,
  ...more,
});

test.for(FOLLOWERS)(
  "the follower in %s shows insertions, updates and deletions, and continues where it was killed",
  TIMEOUT,
  async ([_name, find], { skip }) => {
    const { orders, run } = await start(await find(skip));
    const token = await signToken({ sub: "ada" });
    await orders.insertMany([
      { _id: 1, owner: "ada", open: true },
      { _id: 2, owner: "bob", open: true },
    ]);
    const first = run(token);
    const shown = (program: Program) => program.lines.map(({ type, document, id }) => [type, document ?? id]);
    await expect
      .poll(() => [...shown(first), ...first.errors], PATIENCE)
      .toEqual([
        ["subscribed", undefined],
        ["has", order(1)],
      ]);
    await orders.insertOne({ _id: 3, owner: "ada", open: true });
    await orders.updateOne({ _id: 3 }, { $set: { big: 9_007_199_254_740_993n } });
    await orders.deleteOne({ _id: 1 });
    await expect
      .poll(() => shown(first).slice(2), PATIENCE)
      .toEqual([
        ["added", order(3)],
        ["changed", order(3, { big: { $numberLong: "9007199254740993" } })],
        ["removed", 1],
      ]);
    await first.stop();
    await orders.insertOne({ _id: 4, owner: "ada", open: true });
    await orders.updateOne({ _id: 3 }, { $set: { open: false } });
    const second = run(token);
    await expect
      .poll(() => [...shown(second), ...second.errors], PATIENCE)
      .toEqual([
        ["subscribed", undefined],
        ["added", order(4)],
        ["removed", 3],
      ]);
    expect(second.lines[0]?.["start"]).toBe("START_RESUMED");
  },
);

test.for(FOLLOWERS)(
  "the follower in %s ends when its token is refused",
  TIMEOUT,
  async ([_name, find], { skip }) => {
    const { run } = await start(await find(skip));
    const program = run("nonsense");
    await expect.poll(() => program.code, PATIENCE).toBe(1);
    expect(program.lines).toEqual([
      { type: "status", status: expect.stringMatching(/^unauthenticated$/i), code: "unauthenticated" },
    ]);
  },
);
