/** One query of a client under test, as its driver reports it, and the judgement of it. */
import { isDeepStrictEqual } from "node:util";
import { BSON, type Db } from "mongodb";
import type { Line } from "./driver.ts";
import type { Follow, Oracle } from "./scenario.ts";

type Doc = Readonly<Record<string, unknown>>;
type Change = NonNullable<Line["change"]>;

export class Followed {
  readonly follow: Follow;
  /** The driver's number of the client. */
  readonly n: number;
  /** Every status, in order. */
  readonly statuses: string[] = [];
  stopped: string | undefined;
  /** The documents that the application shows since the end, as far as the driver says so. */
  shownAtEnd: readonly Doc[] | undefined;
  /** Changes that do not fit the result before them. */
  readonly complaints: string[] = [];
  /** The result that its changes give, by the JSON of each `_id`. */
  readonly #held = new Map<string, unknown>();
  readonly #isWhole: boolean;
  readonly #isSorted: boolean;
  #hasSnapshot = false;

  constructor(follow: Follow, n: number) {
    this.follow = follow;
    this.n = n;
    this.#isWhole = follow.request["snapshot"] !== false;
    this.#isSorted = follow.request["sort"] !== undefined;
  }

  get status(): string | undefined {
    return this.statuses.at(-1);
  }

  /** The documents that the client's changes give, in no order. */
  get held(): unknown[] {
    return [...this.#held.values()];
  }

  take({ change, status, stopped, documents }: Line): void {
    if (status !== undefined) this.statuses.push(status);
    if (stopped !== undefined) {
      this.stopped = stopped.code;
      this.shownAtEnd = documents;
    }
    if (change !== undefined) this.#apply(change);
  }

  #apply(change: Change): void {
    const { type, docs, doc, _id } = change as Change & { docs?: Doc[]; doc?: Doc; _id?: unknown };
    if (type === "snapshot") {
      this.#hasSnapshot = true;
      this.#held.clear();
      for (const one of docs ?? []) this.#held.set(JSON.stringify(one["_id"]), one);
      return;
    }
    const key = JSON.stringify(type === "removed" ? _id : doc?.["_id"]);
    const before = this.#held.get(key);
    if (this.#isWhole) this.#complain(change, before, doc);
    if (type === "removed") this.#held.delete(key);
    else this.#held.set(key, doc);
  }

  #complain(change: Change, before: unknown, doc: unknown): void {
    const text = JSON.stringify(change);
    if (!this.#hasSnapshot) this.complaints.push(`a change before the first snapshot: ${text}`);
    if ((change.type === "added") !== (before === undefined))
      this.complaints.push(
        `${text}, but the application ${before === undefined ? "does not hold it" : "holds it"}`,
      );
    // A sorted result may only have moved.
    if (change.type === "changed" && !this.#isSorted && isDeepStrictEqual(before, doc))
      this.complaints.push(`the same change twice: ${text}`);
  }

  /** Compares the documents that the client holds once everything has arrived. @returns The differences. */
  async judge(documents: readonly Doc[], db: Db, oracle: Oracle | undefined): Promise<string[]> {
    const wrong = [...this.complaints];
    const byId = (list: readonly unknown[]) =>
      new Map(list.map((one) => [JSON.stringify((one as Doc)["_id"]), one]));
    if (this.#isWhole && !isDeepStrictEqual(byId(documents), this.#held))
      wrong.push(
        `the client holds ${JSON.stringify(documents)}, but its changes give ${JSON.stringify(this.held)}`,
      );
    if (oracle === undefined) return wrong;
    const found = (await ask(db, oracle)).map((one) => this.#written(one));
    const isEqual = this.#isSorted
      ? isDeepStrictEqual(documents, found)
      : isDeepStrictEqual(byId(documents), byId(found)) && documents.length === found.length;
    if (!isEqual)
      wrong.push(`the client holds ${JSON.stringify(documents)}, but MongoDB has ${JSON.stringify(found)}`);
    return wrong;
  }

  /** A document of the database in the form of the subscription. Scenarios use no types that differ more than this. */
  #written(doc: BSON.Document): unknown {
    return this.follow.values === "ejson" ? BSON.EJSON.serialize(doc) : JSON.parse(JSON.stringify(doc));
  }
}

async function ask(db: Db, oracle: Oracle): Promise<BSON.Document[]> {
  if ("aggregate" in oracle)
    return db
      .collection(oracle.aggregate)
      .aggregate([...oracle.pipeline])
      .toArray();
  const { find, filter = {}, projection, sort, limit } = oracle;
  const cursor = db
    .collection(find)
    .find(BSON.EJSON.deserialize(filter), { ...(projection && { projection }) });
  if (sort !== undefined) cursor.sort({ ...(sort as Record<string, 1 | -1>), _id: 1 });
  return (limit === undefined ? cursor : cursor.limit(limit)).toArray();
}
