/** Leases among real processes, which are frozen, killed and stopped while they hold one. */
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Lease, type LeaseTerm } from "../../../src/source/lease.ts";
import { LeaseStore } from "../../../src/source/lease-store.ts";
import { ROOT } from "../../support/build.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { testDatabase } from "../../support/mongod.ts";
import { Program } from "../../support/program.ts";

const PATIENCE = { timeout: 90_000 };
const TTL_MS = 1_000;

interface Line {
  readonly type: string;
  readonly holder: string;
  readonly at: number;
  readonly fence: number;
  readonly n: number;
  readonly reason?: string;
}

type Database = Awaited<ReturnType<typeof testDatabase>>;

const linesOf = (programs: readonly Program[]) =>
  programs.flatMap(({ lines }) => lines as unknown as readonly Line[]);

class Holders {
  readonly programs: Program[] = [];
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  start(): Program {
    const { uri, name } = this.#database;
    const holder = `process-${this.programs.length}`;
    const script = join(ROOT, "test", "support", "lease-holder.mjs");
    const program = new Program(process.execPath, [script, uri, name, holder, String(TTL_MS)]);
    this.programs.push(program);
    return program;
  }

  /** The process that holds the lease with a fence above `fence`, once it has saved something. */
  async holder(fence = 0): Promise<{ program: Program; fence: number }> {
    const isSaved = ({ type, fence: own }: Line) => type === "saved" && own > fence;
    const find = () => this.programs.find((program) => linesOf([program]).some(isSaved));
    await expect.poll(find, PATIENCE).toBeDefined();
    const program = find() as Program;
    return { program, fence: Math.max(...linesOf([program]).map(({ fence: own }) => own ?? 0)) };
  }

  /** No save is lost or replaced by an older one, and the data are those of the last save. */
  async judge(): Promise<void> {
    const saved = linesOf(this.programs).filter(({ type }) => type === "saved");
    const byNumber = saved.toSorted((a, b) => a.n - b.n);
    expect(new Set(saved.map(({ n }) => n)).size, "each number is saved once").toBe(saved.length);
    const fences = byNumber.map(({ fence }) => fence);
    expect(fences, "an older fence never saves after a newer one").toEqual(fences.toSorted((a, b) => a - b));
    const lease = await this.#database.db.collection("leases").findOne();
    // A process that was killed may have saved one number that it never reported.
    expect(lease?.["data"].n).toBeGreaterThanOrEqual(byNumber.at(-1)?.n ?? 0);
    expect(linesOf(this.programs).filter(({ type }) => type === "fault")).toEqual([]);
    expect(this.programs.flatMap(({ errors }) => errors)).toEqual([]);
  }
}

test("a lease whose holder is killed passes to another process, which continues with the saved data", async () => {
  const holders = new Holders(await testDatabase());
  for (let i = 0; i < 3; i++) holders.start();
  let { program, fence } = await holders.holder();
  for (let i = 0; i < 2; i++) {
    await program.stop();
    ({ program, fence } = await holders.holder(fence));
  }
  expect(fence).toBe(3);
  await holders.judge();
});

test("a holder that was frozen for longer than its term stops before it saves anything", async () => {
  const holders = new Holders(await testDatabase());
  for (let i = 0; i < 2; i++) holders.start();
  const first = await holders.holder();
  first.program.signal("SIGSTOP");
  const linesBefore = first.program.lines.length;
  const second = await holders.holder(first.fence);
  expect(second.program).not.toBe(first.program);
  first.program.signal("SIGCONT");
  const isEnd = ({ type, fence }: Line) => type === "ended" && fence === first.fence;
  await expect.poll(() => linesOf([first.program]).some(isEnd), PATIENCE).toBe(true);
  // A save that MongoDB had confirmed before the process was frozen may still be reported.
  const late = linesOf([first.program]).slice(linesBefore);
  expect(late.filter(({ type }) => type === "saved").length).toBeLessThanOrEqual(1);
  await holders.judge();
});

test("a holder that stops releases the lease, and another process takes it long before its term is over", async () => {
  const holders = new Holders(await testDatabase());
  holders.start();
  const { program, fence } = await holders.holder();
  holders.start();
  program.signal("SIGTERM");
  await holders.holder(fence);
  const ended = () => linesOf([program]).filter(({ type }) => type === "ended");
  await expect.poll(() => ended().at(-1), PATIENCE).toMatchObject({ reason: "released" });
  await holders.judge();
});

/** A candidate in this process. */
function candidate(
  { db }: Database,
  holder: string,
  options: { ttlMs?: number; answer?: <T>(ask: () => Promise<T>) => Promise<T> } = {},
) {
  const { ttlMs = TTL_MS, answer = (ask) => ask() } = options;
  const abort = new AbortController();
  const parts = { store: new LeaseStore(db), answer, ...guardParts() };
  const term = new Lease({ name: "work", holder, ttlMs }, parts).compete(abort.signal);
  onTestFinished(async () => {
    abort.abort();
    await (await term)?.release();
  });
  return { term, stop: () => abort.abort() };
}

const held = async ({ term }: { term: Promise<LeaseTerm | null> }): Promise<LeaseTerm> => {
  const got = await term;
  if (got === null) throw new Error("the candidate was stopped");
  return got;
};

test("a holder keeps its lease for many terms, and a candidate that is stopped gets none", async () => {
  const database = await testDatabase();
  // A busy machine delays a renewal by seconds.
  const ttlMs = 6_000;
  const first = await held(candidate(database, "a", { ttlMs }));
  const second = candidate(database, "b", { ttlMs });
  const leases = database.db.collection<{ renewals: number }>("leases");
  await expect.poll(async () => (await leases.findOne())?.renewals, PATIENCE).toBeGreaterThan(12);
  expect(first.isHeld).toBe(true);
  expect(first.fence).toBe(1n);
  second.stop();
  expect(await second.term).toBeNull();
});

test("a term ends by itself when renewals get no answer, before another process takes the lease", async () => {
  const database = await testDatabase();
  let isCut = false;
  const answer = <T>(ask: () => Promise<T>): Promise<T> => (isCut ? new Promise(() => {}) : ask());
  const first = await held(candidate(database, "a", { answer }));
  const second = candidate(database, "b");
  let endedAtMs = Number.POSITIVE_INFINITY;
  first.signal.addEventListener("abort", () => {
    endedAtMs = performance.now();
  });
  isCut = true;
  const { fence } = await held(second);
  expect(endedAtMs).toBeLessThan(performance.now());
  expect(first.signal.reason).toBe("expired");
  expect([first.fence, fence]).toEqual([1n, 2n]);
  expect(await first.save({ n: 1 })).toBe(false);
});

test("a save with the fence of an earlier holder is refused, also when that holder still believes in its lease", async () => {
  const { db } = await testDatabase();
  const store = new LeaseStore(db);
  const first = await store.take("work", null, "a", TTL_MS);
  const second = await store.take("work", first, "b", TTL_MS);
  expect(second).toMatchObject({ holder: "b", fence: 2n });
  expect(await store.take("work", first, "c", TTL_MS)).toBeNull();
  expect(await store.take("work", null, "c", TTL_MS)).toBeNull();
  expect(await store.renew("work", 2n, { n: 2 })).toBe(true);
  expect(await store.renew("work", 1n, { n: 1 })).toBe(false);
  await store.release("work", 1n);
  expect(await store.read("work")).toMatchObject({ holder: "b", fence: 2n, data: { n: 2 } });
});

test("a holder that renews or releases its leases of one prefix leaves its other leases to their own terms", async () => {
  const { db } = await testDatabase();
  const store = new LeaseStore(db);
  for (const name of ["presence/a", "presence/b", "work"]) await store.take(name, null, "a", TTL_MS);
  await store.renewAll("presence/", "a");
  await store.releaseAll("presence/", "a");
  expect(await store.read("presence/b")).toMatchObject({ holder: null, renewals: 3n });
  expect(await store.read("work")).toMatchObject({ holder: "a", renewals: 1n });
});
