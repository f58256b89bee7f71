/** Writes of every kind at random, on few documents, so that they meet each other all the time. */
import {
  type Collection,
  type Db,
  type Document,
  Long,
  MongoBulkWriteError,
  type MongoClient,
  MongoServerError,
  ObjectId,
} from "mongodb";
import type { Random } from "./random.ts";

type Id = string | number | ObjectId;
type Thing = Document & { _id: Id };

const OBJECT_ID = (n: number) => new ObjectId(n.toString(16).padStart(24, "6"));
/** Some of every kind of `_id`. */
const IDS: readonly Id[] = [
  ...Array.from({ length: 24 }, (_, i) => i),
  ...Array.from({ length: 8 }, (_, i) => `id-${i}`),
  ...Array.from({ length: 8 }, (_, i) => OBJECT_ID(i)),
];
const OWNERS = ["u0", "u1", "u2"];
const KINDS = ["apple", "apricot", "banana", "cherry"];
const TAGS = ["a", "b", "c", "d", "e"];

export const thing = (random: Random, _id: Id): Thing => {
  const document: Thing = { _id, owner: random.pick(OWNERS), n: random.int(0, 9) };
  if (random.chance(0.7)) document["kind"] = random.pick(KINDS);
  if (random.chance(0.6)) document["tags"] = random.some(TAGS, 0.4);
  if (random.chance(0.6))
    document["meta"] = { a: random.int(0, 4), hidden: random.int(0, 4), deep: { x: random.int(0, 3) } };
  if (random.chance(0.4))
    document["items"] = Array.from({ length: random.int(0, 3) }, () => ({
      q: random.int(0, 3),
      s: random.pick(KINDS),
    }));
  if (random.chance(0.5)) document["secret"] = random.int(0, 99);
  if (random.chance(0.3)) document["at"] = new Date(1_700_000_000_000 + random.int(0, 5) * 1_001);
  if (random.chance(0.2)) document["big"] = Long.fromString("9007199254740993").add(random.int(0, 3));
  if (random.chance(0.2)) document["nothing"] = null;
  return document;
};

const FIELDS = [
  "n",
  "kind",
  "owner",
  "secret",
  "meta.a",
  "meta.hidden",
  "meta.deep.x",
  "at",
  "extra",
] as const;

const valueFor = (random: Random, field: string): unknown => {
  if (field === "kind") return random.pick(KINDS);
  if (field === "owner") return random.pick(OWNERS);
  if (field === "at") return new Date(1_700_000_000_000 + random.int(0, 5) * 1_001);
  return random.chance(0.1) ? null : random.int(0, 9);
};

/** Update operators and pipelines, any of which may fit the document or not. */
function update(random: Random): Document | Document[] {
  const field = random.pick(FIELDS);
  const operators: (() => Document | Document[])[] = [
    () => ({ $set: { [field]: valueFor(random, field) } }),
    () => ({ $set: { n: random.int(0, 9), secret: random.int(0, 99) } }),
    () => ({ $set: { secret: random.int(0, 99) } }),
    () => ({ $set: { "meta.hidden": random.int(0, 9) } }),
    () => ({ $unset: { [field]: "" } }),
    () => ({ $inc: { n: random.int(-3, 3), v: 1 } }),
    () => ({ $mul: { n: 2 } }),
    () => ({ $min: { n: random.int(0, 9) } }),
    () => ({ $max: { n: random.int(0, 9) } }),
    () => ({ $rename: { extra: "other" } }),
    () => ({ $push: { tags: { $each: random.some(TAGS), $slice: -6 } } }),
    () => ({ $addToSet: { tags: random.pick(TAGS) } }),
    () => ({ $pull: { tags: random.pick(TAGS) } }),
    () => ({ $pop: { items: random.pick([1, -1]) } }),
    () => ({ $push: { items: { q: random.int(0, 3) } } }),
    () => ({ $set: { "items.0.q": random.int(0, 3) } }),
    () => [{ $set: { n: { $add: [{ $ifNull: ["$n", 0] }, 1] }, copy: "$kind" } }],
    () => [{ $set: { tags: { $reverseArray: { $ifNull: ["$tags", []] } } } }, { $unset: "extra" }],
    () => [{ $replaceWith: { $mergeObjects: ["$$ROOT", { n: random.int(0, 9) }] } }],
  ];
  return random.pick(operators)();
}

export interface Written {
  operations: number;
  transactions: number;
  /** Transactions that were given up, or met another writer. */
  aborted: number;
  /** Bulks in which some write did not fit its document. */
  refused: number;
}

/** One writer: its operations come one after another. Run several at once for races. */
export class RandomWriter {
  readonly #client: MongoClient;
  readonly #things: Collection<Thing>;
  readonly #random: Random;
  readonly written: Written = { operations: 0, transactions: 0, aborted: 0, refused: 0 };

  constructor(client: MongoClient, db: Db, collection: string, random: Random) {
    this.#client = client;
    this.#things = db.collection<Thing>(collection);
    this.#random = random;
  }

  /** Does at least so many operations. */
  async write(operations: number): Promise<void> {
    const until = this.written.operations + operations;
    while (this.written.operations < until) {
      if (this.#random.chance(0.25)) await this.#transaction();
      else await this.#bulk();
    }
  }

  /** Unordered, so that one which does not fit takes none of the others with it. */
  async #bulk(): Promise<void> {
    const writes = Array.from({ length: this.#random.int(1, 25) }, () => this.#operation());
    try {
      await this.#things.bulkWrite(writes, { ordered: false });
    } catch (error) {
      if (!(error instanceof MongoBulkWriteError)) throw error;
      this.written.refused += 1;
    }
    this.written.operations += writes.length;
  }

  #operation(): Parameters<Collection<Thing>["bulkWrite"]>[0][number] {
    const random = this.#random;
    const _id = random.pick(IDS);
    const filter = { _id };
    const some = { n: random.int(0, 9), owner: random.pick(OWNERS) };
    const kind = random.next();
    if (kind < 0.22) return { insertOne: { document: thing(random, _id) } };
    if (kind < 0.62) return { updateOne: { filter, update: update(random) } };
    if (kind < 0.7)
      return {
        updateOne: {
          filter,
          update: { $set: { n: random.int(0, 9), owner: random.pick(OWNERS) } },
          upsert: true,
        },
      };
    if (kind < 0.74) return { updateMany: { filter: some, update: { $inc: { n: 1 } } } };
    if (kind < 0.86)
      return { replaceOne: { filter, replacement: thing(random, _id), upsert: random.chance(0.5) } };
    if (kind < 0.97) return { deleteOne: { filter } };
    return { deleteMany: { filter: some } };
  }

  /** Several writes, more than one of them to the same document; now and then it is given up. */
  async #transaction(): Promise<void> {
    const random = this.#random;
    const session = this.#client.startSession();
    const busy = random.some(IDS, 0.06);
    const count = random.int(2, 9);
    try {
      session.startTransaction();
      for (let i = 0; i < count; i++) {
        const _id = busy.length > 0 && random.chance(0.7) ? random.pick(busy) : random.pick(IDS);
        await this.#writeIn(session, _id);
      }
      if (random.chance(0.15)) {
        await session.abortTransaction();
        this.written.aborted++;
        return;
      }
      await session.commitTransaction();
      this.written.transactions++;
      this.written.operations += count;
    } catch (error) {
      if (!(error instanceof MongoServerError)) throw error;
      this.written.aborted++; // a write conflict, or one that did not fit
    } finally {
      await session.endSession();
    }
  }

  async #writeIn(session: ReturnType<MongoClient["startSession"]>, _id: Id): Promise<void> {
    const random = this.#random;
    const kind = random.next();
    if (kind < 0.3) await this.#things.replaceOne({ _id }, thing(random, _id), { upsert: true, session });
    else if (kind < 0.8)
      await this.#things.updateOne(
        { _id },
        { $inc: { v: 1 }, $set: { n: random.int(0, 9), owner: random.pick(OWNERS) } },
        { upsert: random.chance(0.5), session },
      );
    else await this.#things.deleteOne({ _id }, { session });
  }
}
