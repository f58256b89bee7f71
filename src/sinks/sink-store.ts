/**
 * The state of sinks in the state database: positions, the spool of waiting messages, and parked messages.
 *
 * Only the newest holder of a sink's lease may write. Its fencing number is in the document of the sink, and every write
 * names it. Writes to more than that document are transactions, whose last statement is the write to it. A spool is emptied
 * without a transaction, but only up to a message that every newer holder knows. So a frozen former holder changes nothing
 * that is still needed, neither positions nor spools.
 *
 * A transaction may go on after its holder has given up waiting for the answer. So every save has a number, and a save has
 * no effect after a newer one, or in a later run of the same holder.
 */
import {
  type AnyBulkWriteOperation,
  type ClientSession,
  type Collection,
  type FindCursor,
  Long,
} from "mongodb";
import { MAJORITY_READ, MAJORITY_WRITE } from "../source/majority.ts";
import { clientOf, type MongoAccess } from "../source/mongo.ts";
import type { StateDatabase } from "../source/state-database.ts";
import {
  NEW_CONTROL,
  NEW_STATE,
  type ParkedDocument,
  type ParkedMessage,
  type SinkControl,
  type SinkDocument,
  type SinkNote,
  type SinkState,
  type SinkTurn,
  type SpoolDocument,
  type SpooledMessage,
  toParkedDocument,
  toParkedMessage,
  toSpoolDocument,
  toSpooledMessage,
} from "./sink-documents.ts";
import { sizeOf } from "./stored-message.ts";

/** Writes of a holder that take effect together. */
export interface SinkWrites {
  readonly state: SinkState;
  readonly spool: readonly SpooledMessage[];
  /** Messages that have left the spool, by their places. */
  readonly delivered: readonly number[];
  readonly park: readonly ParkedMessage[];
  /** Messages that are no longer parked, by their ids. */
  readonly unpark: readonly string[];
}

/**
 * A position that is rolled back with a failed primary repeats messages, and loses none. Waiting for a majority would make
 * each crash of a node repeat several times as many.
 */
const POSITION_WRITE = { writeConcern: { w: 1 } } as const;

/** Messages that are removed at a time when a spool is emptied. */
const EMPTY_STEP = 1_000;

const READ = { ...MAJORITY_READ, readPreference: "primary" as const };

/** Stores the state of all sinks. */
export class SinkStore {
  readonly #database: StateDatabase;
  readonly #access: MongoAccess;

  /** @param access The client of the database, for transactions. */
  constructor(database: StateDatabase, access: MongoAccess) {
    this.#database = database;
    this.#access = access;
  }

  get #sinks(): Collection<SinkDocument> {
    return this.#database.collection<SinkDocument>("sinks");
  }

  get #spool(): Collection<SpoolDocument> {
    return this.#database.collection<SpoolDocument>("sinkSpool");
  }

  get #parked(): Collection<ParkedDocument> {
    return this.#database.collection<ParkedDocument>("sinkParked");
  }

  /** Creates the indexes, and with them the collections. A transaction cannot do that on every version of MongoDB. */
  async prepare(): Promise<void> {
    await this.#sinks.createIndex({ at: 1 });
    await this.#spool.createIndexes([
      { key: { sink: 1, lane: 1, seq: 1 } },
      { key: { sink: 1, at: 1 } },
      { key: { sink: 1, key: 1, seq: 1 } },
    ]);
    await this.#parked.createIndexes([
      { key: { sink: 1, "_id.id": 1 } },
      { key: { sink: 1, parkedAt: 1 } },
      { key: { sink: 1, replay: 1 } },
    ]);
  }

  /**
   * Begins a run: writes the fencing number of its holder, and reads the state that its predecessor has left.
   * @returns `null` if there is a newer holder already.
   */
  async begin(
    sink: string,
    fence: bigint,
    node: string,
  ): Promise<{ readonly state: SinkState; readonly control: SinkControl; readonly turn: SinkTurn } | null> {
    const mine = Long.fromBigInt(fence);
    await this.#sinks.updateOne(
      { _id: sink },
      { $setOnInsert: { ...NEW_STATE, ...NEW_CONTROL, fence: Long.ZERO, run: 0, node, at: new Date() } },
      { upsert: true, ...MAJORITY_WRITE },
    );
    const found = await this.#sinks.findOneAndUpdate(
      { _id: sink, fence: { $lte: mine } },
      { $set: { fence: mine, node, at: new Date() }, $inc: { run: 1 } },
      { returnDocument: "after", ...MAJORITY_WRITE },
    );
    if (found === null) return null;
    const { _id, fence: _fence, run, node: _node, at: _at, isPaused, disabled, ...state } = found;
    return {
      // The document may be of a version that saved less.
      state: { ...NEW_STATE, ...state },
      control: { isPaused, disabled },
      turn: { fence, run },
    };
  }

  /**
   * Saves the writes of a holder, all or none. Saving them again does no harm.
   * @returns `false` if there is a newer holder, run or save. Nothing was saved then.
   */
  async save(sink: string, turn: SinkTurn, writes: SinkWrites): Promise<boolean> {
    const { spool, delivered, park, unpark } = writes;
    if (spool.length + delivered.length + park.length + unpark.length === 0)
      return this.#saveState(sink, turn, writes.state);
    const session = clientOf(this.#access).startSession();
    try {
      return await session.withTransaction(() => this.#saveAll(sink, turn, writes, session), {
        ...MAJORITY_WRITE,
        readConcern: { level: "majority" },
      });
    } catch (error) {
      if (error instanceof Outdated) return false;
      throw error;
    } finally {
      await session.endSession();
    }
  }

  async #saveAll(
    sink: string,
    turn: SinkTurn,
    { state, spool, delivered, park, unpark }: SinkWrites,
    session: ClientSession,
  ): Promise<true> {
    const changes: AnyBulkWriteOperation<SpoolDocument>[] = spool.map((message) => {
      const { _id, ...replacement } = toSpoolDocument(sink, message);
      return { replaceOne: { filter: { _id }, replacement, upsert: true } };
    });
    if (delivered.length > 0) {
      const places = delivered.map((seq) => ({ sink, seq }));
      changes.push({ deleteMany: { filter: { _id: { $in: places } } } });
    }
    if (changes.length > 0) await this.#spool.bulkWrite(changes, { session, ordered: true });
    if (park.length + unpark.length > 0) {
      const parks: AnyBulkWriteOperation<ParkedDocument>[] = park.map((message) => {
        const { _id, ...replacement } = toParkedDocument(sink, message);
        return { replaceOne: { filter: { _id }, replacement, upsert: true } };
      });
      const ids = unpark.map((id) => ({ sink, id }));
      if (ids.length > 0) parks.push({ deleteMany: { filter: { _id: { $in: ids } } } });
      await this.#parked.bulkWrite(parks, { session, ordered: true });
    }
    // Last, because a transaction that has written the document keeps a new holder waiting until it ends.
    if (!(await this.#saveState(sink, turn, state, session))) throw new Outdated();
    return true;
  }

  async #saveState(
    sink: string,
    turn: SinkTurn,
    state: SinkState,
    session?: ClientSession,
  ): Promise<boolean> {
    const { matchedCount } = await this.#sinks.updateOne(
      // A repetition finds its own number. A failed primary may have rolled the last ones back.
      { ...documentOf(sink, turn), saves: { $lte: state.saves } },
      { $set: { ...state, at: new Date() } },
      session === undefined ? POSITION_WRITE : { session },
    );
    return matchedCount === 1;
  }

  /**
   * The messages of a queue from a place on, in their order.
   * @returns As many as the limits allow, and at least one if there is one.
   */
  async spooled(
    sink: string,
    lane: string | null,
    afterSeq: number,
    limits: ReadLimits,
  ): Promise<{ messages: SpooledMessage[]; isAll: boolean }> {
    const cursor = this.#spool.find({ sink, lane, seq: { $gt: afterSeq } }, READ).sort({ seq: 1 });
    return readSome(cursor, limits);
  }

  /**
   * The messages of all queues by their keys, and those of one key in their order, from a message on.
   * @returns As many as the limits allow, and at least two if there are two.
   */
  async spooledByKey(
    sink: string,
    { key, seq }: { readonly key: string; readonly seq: number },
    limits: ReadLimits,
  ): Promise<{ messages: SpooledMessage[]; isAll: boolean }> {
    const rest = {
      $or: [
        { sink, key, seq: { $gte: seq } },
        { sink, key: { $gt: key } },
      ],
    };
    return readSome(this.#spool.find(rest, READ).sort({ key: 1, seq: 1 }), limits, 2);
  }

  /**
   * The keys whose messages wait for a retry, with the time of the next attempt. A lane whose first message has left has
   * no time: its holder has ended before the rest was sent, and it is due now.
   */
  async lanes(sink: string, limit: number): Promise<{ lane: string; dueAtMs: number }[]> {
    // In the order of the index, so that MongoDB need not read the messages behind the first one of each lane.
    const found = this.#spool.aggregate<{ _id: string; dueAt: Date | null }>(
      [
        { $match: { sink, lane: { $type: "string" } } },
        { $sort: { sink: 1, lane: 1, seq: 1 } },
        { $group: { _id: "$lane", dueAt: { $first: "$dueAt" } } },
        { $limit: limit },
      ],
      READ,
    );
    return (await found.toArray()).map(({ _id, dueAt }) => ({ lane: _id, dueAtMs: dueAt?.getTime() ?? 0 }));
  }

  /** When the oldest spooled message arrived, in epoch milliseconds; `null` if there is none. */
  async oldestSpooledMs(sink: string): Promise<number | null> {
    const oldest = await this.#spool.findOne({ sink }, { ...READ, projection: { at: 1 }, sort: { at: 1 } });
    return oldest?.at.getTime() ?? null;
  }

  /** When the first message of the main queue arrived, in epoch milliseconds; `null` if the queue is empty. */
  async firstQueuedMs(sink: string): Promise<number | null> {
    const options = { ...READ, projection: { at: 1 }, sort: { seq: 1 } as const };
    const first = await this.#spool.findOne({ sink, lane: null }, options);
    return first?.at.getTime() ?? null;
  }

  /**
   * Removes some messages of a spool that was given up.
   * @param upToSeq The last one of them. Those of a newer holder come after it.
   * @returns Whether there are more.
   */
  async emptySome(sink: string, upToSeq: number): Promise<boolean> {
    const found = await this.#spool
      .find({ sink, seq: { $lte: upToSeq } }, { ...READ, projection: { _id: 1 } })
      .limit(EMPTY_STEP)
      .toArray();
    const filter = { _id: { $in: found.map(({ _id }) => _id) } };
    if (found.length > 0) await this.#spool.deleteMany(filter, MAJORITY_WRITE);
    return found.length === EMPTY_STEP;
  }

  /** The decisions of admins and of the target; `null` before the first start of the sink. */
  async control(sink: string): Promise<SinkControl | null> {
    const projection = { isPaused: 1, disabled: 1 };
    return this.#sinks.findOne({ _id: sink }, { ...READ, projection });
  }

  /** Decides whether a sink sends. @returns Whether there is such a sink. */
  async setControl(sink: string, control: SinkControl): Promise<boolean> {
    const { matchedCount } = await this.#sinks.updateOne(
      { _id: sink },
      { $set: { ...control } },
      MAJORITY_WRITE,
    );
    return matchedCount === 1;
  }

  /** Notes that the target wants no more messages. @returns `false` if there is a newer holder or run. */
  async disable(sink: string, turn: SinkTurn, disabled: SinkNote): Promise<boolean> {
    const { matchedCount } = await this.#sinks.updateOne(
      documentOf(sink, turn),
      { $set: { disabled } },
      MAJORITY_WRITE,
    );
    return matchedCount === 1;
  }

  /** The state of every sink that has ever started. */
  async states(): Promise<(SinkState & SinkControl & { readonly name: string; readonly node: string })[]> {
    const found = await this.#sinks.find({}, READ).sort({ _id: 1 }).toArray();
    return found.map(({ _id, fence: _fence, run: _run, ...state }) => ({ ...state, name: _id }));
  }

  /** Parked messages, the oldest first. */
  async parked(
    sink: string,
    { limit, after, replay }: { readonly limit: number; readonly after?: string; readonly replay?: boolean },
  ): Promise<ParkedMessage[]> {
    const found = await this.#parked
      .find(
        {
          sink,
          ...(replay === undefined ? {} : { replay }),
          ...(after === undefined ? {} : { "_id.id": { $gt: after } }),
        },
        READ,
      )
      .sort({ "_id.id": 1 })
      .limit(limit)
      .toArray();
    return found.map(toParkedMessage);
  }

  /** The ids of the oldest parked messages. */
  async oldestParked(sink: string, limit: number): Promise<string[]> {
    const found = await this.#parked
      .find({ sink }, { ...READ, projection: { _id: 1 } })
      .sort({ parkedAt: 1 })
      .limit(limit)
      .toArray();
    return found.map(({ _id }) => _id.id);
  }

  /**
   * Asks the holder of a sink to send parked messages again.
   * @param ids `null` for all of them.
   * @returns How many there are.
   */
  async askReplay(sink: string, ids: readonly string[] | null): Promise<number> {
    const which = ids === null ? { sink } : { _id: { $in: ids.map((id) => ({ sink, id })) } };
    const { matchedCount } = await this.#parked.updateMany(which, { $set: { replay: true } }, MAJORITY_WRITE);
    return matchedCount;
  }
}

/** The document of a sink, if nobody has begun a later run. */
const documentOf = (sink: string, { fence, run }: SinkTurn) => ({
  _id: sink,
  fence: Long.fromBigInt(fence),
  run,
});

/** How much is read at a time. */
interface ReadLimits {
  readonly messages: number;
  readonly bytes: number;
}

async function readSome(
  found: FindCursor<SpoolDocument>,
  { messages: most, bytes: mostBytes }: ReadLimits,
  least = 1,
): Promise<{ messages: SpooledMessage[]; isAll: boolean }> {
  const messages: SpooledMessage[] = [];
  let bytes = 0;
  for await (const document of found.limit(most)) {
    const spooled = toSpooledMessage(document);
    messages.push(spooled);
    bytes += sizeOf(spooled.message);
    if (bytes >= mostBytes && messages.length >= least) return { messages, isAll: false };
  }
  return { messages, isAll: messages.length < most };
}

/** Aborts a transaction that comes too late. */
class Outdated extends Error {
  override readonly name = "Outdated";
}
