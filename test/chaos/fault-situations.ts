/** The activities of a service during a fault of MongoDB, all at once, and the required outcome of each. */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import type { Db, Document } from "mongodb";
import { type Logger, pino } from "pino";
import { type Service, startService } from "../../src/server.ts";
import { StartupError } from "../../src/source/startup-error.ts";
import type { HeldQuery } from "../support/held-query.ts";
import { ModelClient, type ModelRequest } from "../support/model-client.ts";
import { until } from "../support/mongod.ts";
import { differencesOf, type Oracle, textOf } from "../support/oracle.ts";
import type { Random } from "../support/random.ts";
import { ResumingClient } from "../support/resuming-client.ts";
import { signToken, testConfig, toConfig } from "../support/service.ts";
import { VersionLedger } from "../support/version-ledger.ts";

export const DATABASE = "shop";
const COLLECTIONS = {
  live: { rules: [{ name: "all" }] },
  large: { rules: [{ name: "all" }] },
  busy: { rules: [{ name: "all" }] },
  rooms: {
    lookups: { mine: { collection: "members", filter: { user: "%%user.sub" }, value: "room" } },
    rules: [{ name: "member", filter: { room: { $in: "%%lookup.mine" } } }],
  },
};
const LARGE = { documents: 3_000, padding: "x".repeat(4_000) };
const BUSY_WRITES = 1_500;

/** @param window How far the history reaches back: without one, every resumption reads the oplog. */
const configOf = (uri: string, window: string) =>
  toConfig(
    testConfig(uri, DATABASE, {
      collections: COLLECTIONS,
      server: { heartbeat: "1s" },
      history: { window },
      limits: { outboxBytes: "64KiB" },
    }),
  );

const silent = pino({ level: "silent" });

export const startNode = (uri: string, window: string, log: Logger = silent): Promise<Service> =>
  startService(configOf(uri, window), log);

/** As whatever supervises a process does: a node that could not start is started again. */
export async function startUntilItRuns(uri: string, window: string): Promise<Service> {
  for (;;) {
    try {
      return await startNode(uri, window);
    } catch (error) {
      if (!(error instanceof StartupError)) throw error;
      await pause(100);
    }
  }
}

export const urlOf = ({ address }: Service) => `ws://127.0.0.1:${address.port}/v1/ws`;

interface Seeded extends Document {
  readonly _id: number | string;
}

export async function fill(db: Db): Promise<void> {
  const large = Array.from({ length: LARGE.documents }, (_, _id) => ({ _id, padding: LARGE.padding }));
  await put(db, "large", large);
  await put(db, "busy", [{ _id: 0 }]);
  await put(db, "live", [{ _id: "first" }]);
  await put(db, "members", [
    { _id: 1, user: "u1", room: "a" },
    { _id: 2, user: "u2", room: "b" },
  ]);
  await put(
    db,
    "rooms",
    ["a", "a", "b"].map((room, _id) => ({ _id, room })),
  );
}

/** Writes documents for sure: a busy machine may hold an election at any time. */
async function put(db: Db, collection: string, documents: readonly Seeded[]): Promise<void> {
  const upserts = documents.map((document) => ({
    replaceOne: { filter: { _id: document._id }, replacement: document, upsert: true },
  }));
  await until(`documents in ${collection}`, () =>
    db
      .collection<Seeded>(collection)
      .bulkWrite(upserts, { ordered: false })
      .then(
        () => true,
        () => undefined,
      ),
  );
}

/** One client in its situation. */
export interface Situation {
  readonly name: string;
  /** The fault is in force from now on. */
  strike(): void;
  /** The remaining differences after writes have stopped and MongoDB works again. Waits for the result. */
  problems(db: Db): Promise<string[]>;
  stop(): Promise<void>;
}

/** Follows a query from before the fault on: every version must arrive, each once. */
export async function readingLive(url: string, oracle: Oracle, random: Random): Promise<ResumingSituation> {
  const situation = await ResumingSituation.create(
    "reading live",
    { collection: "live" },
    url,
    oracle,
    random,
  );
  situation.start();
  await until("a client that follows", async () => situation.client.isFollowing);
  return situation;
}

/** Asks only once the fault is in force, so that the read of its lookup meets it. */
export async function loadingLookup(url: string, oracle: Oracle, random: Random): Promise<Situation> {
  const request = { collection: "rooms" };
  return ResumingSituation.create("while a lookup loads", request, url, oracle, random, { room: "a" });
}

/** Asks a node that is only just starting. */
export function atStart(url: string, oracle: Oracle, random: Random): Promise<ResumingSituation> {
  return ResumingSituation.create("at start", { collection: "live" }, url, oracle, random);
}

export class ResumingSituation implements Situation {
  readonly name: string;
  readonly client: ResumingClient;
  readonly #request: ModelRequest;
  readonly #sees: Document;
  readonly #ledger: VersionLedger;
  #started = false;

  private constructor(
    name: string,
    request: ModelRequest,
    sees: Document,
    ledger: VersionLedger,
    client: ResumingClient,
  ) {
    this.name = name;
    this.#request = request;
    this.#sees = sees;
    this.#ledger = ledger;
    this.client = client;
  }

  static async create(
    name: string,
    request: ModelRequest,
    url: string,
    oracle: Oracle,
    random: Random,
    sees: Document = {},
  ): Promise<ResumingSituation> {
    const ledger = new VersionLedger();
    const client = new ResumingClient({
      url: () => url,
      token: await signToken({ sub: "u1" }),
      requests: { q: request },
      random: random.fork(),
      decode: (cursor) => oracle.decode(cursor),
      onHeld: (held) => ledger.follow(held),
      onPoint: (held, _id, by) => {
        if (by === "snapshot") ledger.snapshot(held);
      },
    });
    return new ResumingSituation(name, request, sees, ledger, client);
  }

  start(): void {
    this.#started = true;
    this.client.start();
  }

  strike(): void {
    if (!this.#started) this.start();
  }

  async problems(db: Db): Promise<string[]> {
    const { lost, duplicated, outOfOrder, examples } = this.#ledger;
    const counted = { lost, duplicated, outOfOrder };
    const unlike = await untilEqual(db, this.#request.collection, this.#sees, () => this.client.heldOf("q"));
    return [
      ...unlike,
      ...(lost + duplicated + outOfOrder > 0 ? [`${JSON.stringify(counted)} ${examples.join("; ")}`] : []),
      ...this.client.faults,
    ];
  }

  stop(): Promise<void> {
    return this.client.stop();
  }
}

/** A client that has stopped reading in the midst of something, and goes on once the fault is in force. */
class PausedSituation implements Situation {
  readonly name: string;
  readonly #client: ModelClient;
  readonly #collection: string;
  readonly #mayBeReset: boolean;
  readonly #resets: string[] = [];

  constructor(name: string, collection: string, client: ModelClient, mayBeReset: boolean) {
    this.name = name;
    this.#collection = collection;
    this.#client = client;
    this.#mayBeReset = mayBeReset;
    const { onMessage } = client.client;
    client.client.onMessage = (message) => {
      if (message.type === "reset") this.#resets.push(message.reason);
      onMessage(message);
    };
  }

  strike(): void {
    this.#client.client.socket.resume();
  }

  async problems(db: Db): Promise<string[]> {
    const held = () => this.#client.subscriptions.get("q")?.held;
    const unlike = await untilEqual(db, this.#collection, {}, held);
    const { closed, faults } = this.#client;
    return [
      ...unlike,
      ...faults,
      // A client that did not keep up is another matter.
      ...(!this.#mayBeReset && this.#resets[0] === "history-lost" ? [`reset: ${this.#resets.join()}`] : []),
      ...(closed === undefined ? [] : [`closed: ${JSON.stringify(closed)}`]),
    ];
  }

  async stop(): Promise<void> {
    this.#client.drop();
  }
}

/** A result of many megabytes of which the client has read the beginning. */
export async function inSnapshot(url: string, oracle: Oracle): Promise<Situation> {
  const client = await connect(url, oracle);
  void client.subscribe("q", { collection: "large" });
  await client.client.until(({ type }) => type === "snapshot");
  client.client.socket.pause();
  // No cursor survives the end of the server, so the remaining documents are read again.
  return new PausedSituation("during a snapshot", "large", client, true);
}

/**
 * Resumes from before the history: the node reads the oplog, and the client has read the beginning of that.
 * @param isForgotten The history of the node holds nothing any more.
 */
export async function inCatchUp(
  url: string,
  oracle: Oracle,
  db: Db,
  isForgotten: () => Promise<boolean>,
): Promise<Situation> {
  const before = await connect(url, oracle);
  await before.subscribe("q", { collection: "busy" });
  await until("a client that follows", async () => followed(before)?.phase === "following");
  const held = before.drop()[0]?.held;
  assert(held !== undefined);
  const missed = Array.from({ length: BUSY_WRITES }, (_, n) => ({ _id: n + 1, padding: LARGE.padding }));
  await put(db, "busy", missed);
  await until("a history that does not reach back", isForgotten);
  const client = await connect(url, oracle);
  void client.subscribe("q", { collection: "busy" }, held);
  await client.client.until(({ type }) => type === "added");
  client.client.socket.pause();
  return new PausedSituation("during a catch-up", "busy", client, false);
}

const followed = (client: ModelClient): HeldQuery | undefined => client.subscriptions.get("q")?.held;

async function connect(url: string, oracle: Oracle): Promise<ModelClient> {
  const token = await signToken({ sub: "u1" });
  const client = await ModelClient.connect(url, { token, decode: (cursor) => oracle.decode(cursor) });
  assert(client !== undefined, "no connection");
  return client;
}

/** Waits until what is held is what `find` gives; gives the differences where it never is. */
async function untilEqual(
  db: Db,
  collection: string,
  sees: Document,
  held: () => HeldQuery | undefined,
): Promise<string[]> {
  const documents = await db.collection(collection).find(sees).toArray();
  const found = new Map(
    documents.map((document) => [textOf(document["_id"], "json"), textOf(document, "json")] as const),
  );
  const differences = () => {
    const query = held();
    if (query?.phase !== "following") return [`${query?.phase ?? "not subscribed"}`];
    return differencesOf(query.documents, found);
  };
  try {
    await until("what find gives", async () => differences().length === 0);
    return [];
  } catch {
    return differences().slice(0, 3);
  }
}
