/**
 * Rule sets come into force many times a second while writers write and nodes are killed. At every watermark and
 * snapshot, clients of every node hold what `find` gives under the set that was in force at that cluster time.
 */
import { setTimeout as pause } from "node:timers/promises";
import { type ChangeStreamDocument, type Document, MongoClient } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { BEFORE } from "../../src/feed/cursor.ts";
import { RuleSetStore } from "../../src/source/rule-set-store.ts";
import { FUZZ_FACTOR, startSeed } from "../property/seed.ts";
import { Judge } from "../support/judge.ts";
import { testDatabase, until } from "../support/mongod.ts";
import { Oracle, type OracleQuery } from "../support/oracle.ts";
import { Random } from "../support/random.ts";
import { ResumingClient } from "../support/resuming-client.ts";
import { draftOf, pushRules } from "../support/rule-sets.ts";
import { signToken, testConfig } from "../support/service.ts";
import { type SpawnedService, spawnService } from "../support/spawn-service.ts";
import { VersionedWriter } from "../support/versioned-writer.ts";

const PATIENCE = { timeout: 120_000, interval: 100 };
const NODES = 3;
/** In CI 40 of them; `npm run soak` makes 500, and `TIDEWIRE_EDITS` any other number. */
const EDITS = Number(process.env["TIDEWIRE_EDITS"] ?? (FUZZ_FACTOR > 1 ? 500 : 40));
const KILLS = Math.max(3, Math.floor(EDITS / 25));
/** A busy machine takes more than a second for an edit, and several for a kill. */
const TIMEOUT_MS = Math.max(1_200_000, EDITS * 6_000);
/** Comparisons after single changes. A watermark or a snapshot is always compared. */
const SAMPLED = 0.02;

/** A rule, and what it lets a user see, in the terms of the server. */
interface Variant {
  readonly rule: object;
  readonly filter: (sub: string) => Document;
  readonly projections: readonly Document[];
}

const VARIANTS: readonly Variant[] = [
  { rule: { name: "everyone" }, filter: () => ({}), projections: [] },
  { rule: { name: "own", filter: { owner: "%%user.sub" } }, filter: (owner) => ({ owner }), projections: [] },
  { rule: { name: "shown", filter: { shown: true } }, filter: () => ({ shown: true }), projections: [] },
  {
    rule: { name: "even", filter: { v: { $mod: [2, 0] }, owner: "%%user.sub" } },
    filter: (owner) => ({ v: { $mod: [2, 0] }, owner }),
    projections: [],
  },
  {
    rule: { name: "secretive", filter: { shown: true }, fields: { exclude: ["note"] } },
    filter: () => ({ shown: true }),
    projections: [{ note: 0 }],
  },
];

const collectionsOf = ({ rule }: Variant) => ({ items: { rules: [rule] } });

/** Edits and reverts, and records at which cluster time each set came into force. */
class Editor {
  readonly #store: RuleSetStore;
  readonly #random: Random;
  readonly #byNumber = new Map<number, Variant>();
  readonly #inForceFrom: { readonly time: bigint; readonly variant: Variant }[] = [];
  #isOver = false;
  /** Comparisons that wait until it is known which set was in force at their time. */
  readonly #waiting = new Set<{ readonly time: bigint; readonly resolve: () => void }>();
  edits = 0;
  reverts = 0;

  constructor(mongo: MongoClient, database: string, random: Random) {
    this.#store = new RuleSetStore(mongo.db(`${database}-state`));
    this.#random = random;
  }

  note(number: number, variant: Variant): void {
    this.#byNumber.set(number, variant);
  }

  /** Follows the document in force as any reader could. */
  record(change: ChangeStreamDocument): void {
    if (change.operationType !== "replace" || String(change.documentKey._id) !== "inForce") return;
    const variant = this.#byNumber.get(Number(change.fullDocument?.["set"]));
    const time = change.clusterTime?.toBigInt();
    if (variant === undefined || time === undefined) return;
    this.#inForceFrom.push({ time, variant });
    for (const each of this.#waiting) if (each.time < time) this.#release(each);
  }

  /** Resolves when a later set has come into force, or none will: then the set of that time is known. */
  async known(time: bigint): Promise<void> {
    if (this.#isOver || (this.#inForceFrom.at(-1)?.time ?? 0n) > time) return;
    await new Promise<void>((resolve) => this.#waiting.add({ time, resolve }));
  }

  /** All edits have been recorded. */
  end(): void {
    this.#isOver = true;
    for (const each of this.#waiting) this.#release(each);
  }

  #release(waiting: { readonly time: bigint; readonly resolve: () => void }): void {
    this.#waiting.delete(waiting);
    waiting.resolve();
  }

  get recorded(): number {
    return this.#inForceFrom.length;
  }

  begin(variant: Variant): void {
    this.#inForceFrom.push({ time: 0n, variant });
  }

  at(clusterTime: bigint): Variant {
    const found = this.#inForceFrom.findLast(({ time }) => time <= clusterTime);
    if (found === undefined) throw new Error("no rules were in force");
    return found.variant;
  }

  /** One edit by two admins at once: one of them wins. Each third admin reverts to the set before the one in force. */
  async edit(): Promise<void> {
    const parent = (await this.#store.inForce())?.set ?? 0;
    const admins = [this.#intent(), this.#intent()];
    const pushed = await Promise.all(
      admins.map(async ({ variant, isRevert }) => {
        const number = await this.#store.add(draftOf(collectionsOf(variant), parent));
        this.#byNumber.set(number, variant);
        const isInForce = await this.#store.putInForce(number, parent);
        if (isInForce && isRevert) this.reverts++;
        return isInForce;
      }),
    );
    expect(pushed.filter((isInForce) => isInForce)).toHaveLength(1);
    this.edits++;
  }

  #intent(): { readonly variant: Variant; readonly isRevert: boolean } {
    const earlier = this.#inForceFrom.at(-2)?.variant;
    if (earlier !== undefined && this.#random.chance(1 / 3)) return { variant: earlier, isRevert: true };
    return { variant: this.#random.pick(VARIANTS), isRevert: false };
  }
}

async function startNodes(uri: string, database: string): Promise<SpawnedService[]> {
  const nodes: SpawnedService[] = [];
  for (let index = 0; index < NODES; index++) {
    const { mongodb, ...file } = testConfig(uri, database, {
      collections: {},
      rules: { from: "database" },
      server: { heartbeat: "1s", node: `node-${index}` },
      mongodb: { awaitTime: "100ms" },
      history: { window: "30s" },
    });
    nodes.push(
      await spawnService({
        config: { ...file, mongodb: mongodb as Record<string, unknown>, log: { level: "info" } },
      }),
    );
  }
  return nodes;
}

const readyz = async (node: SpawnedService) =>
  (await (await fetch(`${node.adminUrl}/readyz`)).json()) as { ready: boolean; rulesGeneration: number };

test(
  "[G1] three nodes switch at the same commit: clients hold what find gives under the set in force, through kills",
  async () => {
    const random = new Random(startSeed("rule-sets"));
    const { uri, name: database } = await testDatabase();
    const mongo = await MongoClient.connect(uri);
    onTestFinished(() => mongo.close());
    const [first] = VARIANTS;
    if (first === undefined) throw new Error("there are variants");
    const editor = new Editor(mongo, database, random.fork());
    editor.note(await pushRules(mongo, database, collectionsOf(first)), first);
    editor.begin(first);
    const recorder = mongo.db(`${database}-state`).collection("ruleSets").watch();
    onTestFinished(() => recorder.close());
    recorder.on("change", (change) => editor.record(change as ChangeStreamDocument));

    const nodes = await startNodes(uri, database);
    const oracle = new Oracle(mongo, `${database}-state`);
    await until("the first epoch", () => oracle.learnEpoch().catch(() => undefined));
    const judge = new Judge();
    const clients: ResumingClient[] = [];
    for (const [index, node] of nodes.entries()) {
      for (const sub of ["u0", "u1"]) {
        const sampling = random.fork();
        const client = new ResumingClient({
          url: () => `${node.url.replace("http", "ws")}/v1/ws`,
          requests: {
            all: { collection: "items" },
            small: { collection: "items", filter: { v: { $lt: 40 } } },
          },
          random: random.fork(),
          values: "json",
          token: await signToken({ sub }),
          decode: (cursor) => oracle.decode(cursor),
          onPoint: (held, id, by) => {
            const kind = by === "watermark" || by === "snapshot" ? by : "change";
            if (kind === "change" && !sampling.chance(SAMPLED)) return;
            const find = async (cursor: string) => {
              const { clusterTime, within } = oracle.decode(cursor);
              const time = within === BEFORE ? clusterTime - 1n : clusterTime;
              await editor.known(time);
              const variant = editor.at(time);
              const own = id === "small" ? { v: { $lt: 40 } } : {};
              const query: OracleQuery = {
                database,
                collection: "items",
                filter: { $and: [variant.filter(sub), own] },
                projections: variant.projections,
              };
              return oracle.find(query, cursor, "json");
            };
            judge.compare(held, find, kind, () => `node ${index}, ${sub}, ${id}`);
          },
        });
        client.start();
        clients.push(client);
      }
    }
    onTestFinished(() => Promise.all(clients.map((client) => client.stop())).then(() => {}));
    const writers = [0, 1, 2].map(
      (index) => new VersionedWriter(mongo, mongo.db(database), "items", `w${index}`, random.fork()),
    );
    for (const writer of writers) writer.start();
    const startedMs = performance.now();
    let kills = 0;

    for (let edit = 0; edit < EDITS; edit++) {
      const isKill = (edit + 1) % Math.floor(EDITS / (KILLS + 1)) === 0 && edit + 1 < EDITS;
      const victim = random.pick(nodes);
      const editing = editor.edit();
      if (isKill) await pause(random.int(0, 10));
      if (isKill) kills++;
      const restarted = isKill ? victim.restart("SIGKILL") : Promise.resolve();
      await editing;
      // While a node is away, the others go on: it meets several edits at once when it is back.
      for (let more = 0; isKill && more < 3; more++) await editor.edit();
      await restarted;
      await pause(random.int(0, 200));
    }
    await expect.poll(() => editor.recorded, PATIENCE).toBe(editor.edits + 1);
    editor.end();
    const inForce = await new RuleSetStore(mongo.db(`${database}-state`)).inForce();
    for (const node of nodes)
      await expect
        .poll(() => readyz(node), PATIENCE)
        .toMatchObject({ ready: true, rulesGeneration: inForce?.set });
    await Promise.all(writers.map((writer) => writer.stop()));
    await expect.poll(() => clients.every(({ isFollowing }) => isFollowing), PATIENCE).toBe(true);
    await pause(2_500); // two more watermarks each
    await Promise.all(clients.map((client) => client.stop()));
    await judge.settled();
    const { compared, unreadable } = judge;
    const writes = writers.reduce((sum, writer) => sum + writer.writes, 0);
    const perSecond = Math.round(writes / ((performance.now() - startedMs) / 1_000));
    const { edits, reverts } = editor;
    const counts = { edits, reverts, kills, writes, perSecond, ...compared, unreadable };
    console.log("rule sets:", counts);
    expect(clients.flatMap(({ faults }) => faults).slice(0, 10)).toEqual([]);
    expect(judge.differences.slice(0, 12)).toEqual([]);
    expect(compared.watermark).toBeGreaterThan(50);
  },
  TIMEOUT_MS,
);
