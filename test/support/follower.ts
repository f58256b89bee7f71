/** A model client that follows one query across connections, and is compared with what `find` gives. */
import type { Db, Document } from "mongodb";
import { expect, onTestFinished } from "vitest";
import type { HeldQuery } from "./held-query.ts";
import { ModelClient, type ModelRequest, type Starts } from "./model-client.ts";
import { differencesOf, type Oracle, textOf } from "./oracle.ts";
import { signToken } from "./service.ts";

/** For what takes well under a second, except where the machine is busy with something else. */
const PATIENCE_MS = 60_000;

export class QueryFollower {
  readonly request: ModelRequest;
  readonly #oracle: Oracle;
  readonly #clients: ModelClient[] = [];

  private constructor(oracle: Oracle, request: ModelRequest) {
    this.#oracle = oracle;
    this.request = request;
  }

  /** Connects, subscribes, and has the first snapshot. */
  static async start(url: string, oracle: Oracle, request: ModelRequest): Promise<QueryFollower> {
    const follower = new QueryFollower(oracle, request);
    const answer = await follower.connect(url);
    expect(answer, JSON.stringify(answer)).toMatchObject({ start: "snapshot" });
    await expect.poll(() => follower.held.phase, { timeout: PATIENCE_MS }).toBe("following");
    return follower;
  }

  /** Opens another connection, and resumes there what the last one holds. Gives the answer to the request. */
  async connect(url: string) {
    const held = this.#clients.at(-1)?.subscriptions.get("q")?.held;
    const { request } = this;
    const token = await signToken({ sub: "u1" });
    const client = await ModelClient.connect(url, { token, decode: (cursor) => this.#oracle.decode(cursor) });
    if (client === undefined) throw new Error("no connection");
    onTestFinished(() => client.client.socket.terminate());
    this.#clients.at(-1)?.drop();
    this.#clients.push(client);
    return client.subscribe("q", request, held);
  }

  /** The connection at hand. */
  get model(): ModelClient {
    return this.#clients.at(-1)!;
  }

  get held(): HeldQuery {
    const held = this.model.subscriptions.get("q")?.held;
    if (held === undefined) throw new Error("not subscribed");
    return held;
  }

  /** Violations of the protocol on any of the connections, such as a repeated change. */
  get faults(): string[] {
    return this.#clients.flatMap(({ faults }) => faults);
  }

  /** How subscriptions started and why they were reset, on the connection at hand. */
  get starts(): Starts {
    return this.model.starts;
  }

  /** Waits until what is held is what `find` gives now that nobody writes, and has come by no fault. */
  async equalsFind(db: Db, filter: Document = this.request.filter ?? {}): Promise<void> {
    await expect
      .poll(async () => differencesOf(this.held.documents, await findText(db, this.request, filter)), {
        timeout: PATIENCE_MS,
      })
      .toEqual([]);
    expect(this.faults).toEqual([]);
  }
}

async function findText(db: Db, { collection }: ModelRequest, filter: Document) {
  const documents = await db.collection(collection).find(filter).toArray();
  return new Map(
    documents.map((document) => [textOf(document["_id"], "json"), textOf(document, "json")] as const),
  );
}
