/** The writers of a load run: they keep updating numbered documents, each at its rate. */
import { type Collection, MongoBulkWriteError, MongoClient, MongoServerError } from "mongodb";
import { preciseNow } from "../../metrics/precise-now.ts";
import { isMongoFailure } from "../../source/mongo.ts";
import { unreachable } from "../../source/start-patience.ts";
import { StartupError } from "../../source/startup-error.ts";
import { MARK_FIELD, type Mark } from "./mark.ts";
import type { CompiledScenario } from "./scenario.ts";
import { dueAfterMs, dueCount, TICK_MS } from "./schedule.ts";
import { checkMembers } from "./target.ts";
import { endsWithin, orAborted } from "./until.ts";

/** The most writes of one bulk. */
const BULK_MAX = 1_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** MongoDB has not answered for this long: the driver closes the connection, and tries the write once more. */
const SOCKET_TIMEOUT_MS = 30_000;
/** A run that ends waits this long for writes that MongoDB has not acknowledged. */
const STOP_WITHIN_MS = 5_000;
/** Deleting the documents of a run may take this long; a MongoDB that did not answer before gets less time. */
const DELETE_WITHIN_MS = 20_000;
const DELETE_STUCK_WITHIN_MS = 2_000;
const DISCONNECT_WITHIN_MS = 2_000;

/** Error codes of MongoDB for which the text says what to do. */
const UNAUTHORIZED = 13;
const AUTHENTICATION_FAILED = 18;
const VALIDATION_FAILED = 121;

/** The documents that are written, their collection, and the rate. */
export interface WriterOptions {
  readonly uri: string;
  readonly database: string;
  readonly collection: string;
  readonly writers: number;
  /** Writes per second of each writer. */
  readonly rate: number;
  readonly run: string;
  readonly scenario: CompiledScenario;
  /** The user says that the deployment is theirs, wherever its members are. Default `false`. */
  readonly isOwned?: boolean;
}

interface LoadDocument extends Record<string, unknown> {
  readonly _id: string;
  readonly [MARK_FIELD]: Mark;
}

/** Figures of the writers. */
export interface WriterFigures {
  /** Writes that MongoDB has acknowledged, without the first insert of each document. */
  readonly writes: number;
  /** Writes that the rate asked for. */
  readonly wanted: number;
  /** The longest time between a write being due and being made. */
  readonly lagMs: number;
  /** How long the oldest write that was never made was due at the end. */
  readonly behindMs: number;
}

/** All writers of a run. A writer that is behind its rate catches up with larger bulks. */
export class Writers {
  readonly #options: WriterOptions;
  readonly #client: MongoClient;
  readonly #collection: Collection<LoadDocument>;
  readonly #finals: number[] = [];
  readonly #sequences: number[];
  /** The writes that each writer has made. */
  readonly #done: number[];
  #members: readonly string[] = [];
  #inserting: Promise<void> | undefined;
  #running: Promise<void> = Promise.resolve();
  #isStuck = false;
  #lagMs = 0;
  #abort = new AbortController();
  #startedAtMs = 0;
  #stoppedAtMs: number | undefined;
  #writes = 0;

  private constructor(options: WriterOptions, client: MongoClient) {
    this.#options = options;
    this.#client = client;
    this.#collection = client.db(options.database).collection(options.collection);
    this.#sequences = Array.from({ length: options.writers }, () => 0);
    this.#done = Array.from({ length: options.writers }, () => 0);
    client.on("topologyDescriptionChanged", ({ newDescription }) => {
      this.#members = [...newDescription.servers.keys()];
    });
  }

  /**
   * Connects, and inserts the documents.
   * @param signal Ends the wait for MongoDB. Its reason says why.
   * @throws {StartupError} MongoDB cannot be reached, or refuses the documents, or the signal was given.
   * @throws {UsageError} Members of the deployment are on other machines.
   */
  static async open(
    options: WriterOptions,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Writers> {
    const client = new MongoClient(options.uri, {
      appName: "tidewire-load",
      serverSelectionTimeoutMS: CONNECT_TIMEOUT_MS,
      connectTimeoutMS: CONNECT_TIMEOUT_MS,
      socketTimeoutMS: SOCKET_TIMEOUT_MS,
    });
    const writers = new Writers(options, client);
    try {
      await orAborted(writers.#begin(signal), signal);
    } catch (error) {
      const failure = await writers.#failure(error);
      const leftover = await writers.close(false);
      if (leftover === null) throw failure;
      throw new StartupError(`${failure.message}\n${leftover}`, [], { cause: failure });
    }
    return writers;
  }

  get figures(): WriterFigures {
    const { writers, rate } = this.#options;
    const hasStarted = this.#startedAtMs > 0;
    const elapsedMs = hasStarted ? (this.#stoppedAtMs ?? performance.now()) - this.#startedAtMs : 0;
    const behindMs = this.#done.map((done) => elapsedMs - dueAfterMs(done + 1, rate));
    const behind = this.#stoppedAtMs === undefined ? 0 : Math.max(0, ...behindMs);
    return {
      writes: this.#writes,
      wanted: dueCount(elapsedMs, rate) * writers,
      lagMs: Math.max(this.#lagMs, behind),
      behindMs: behind,
    };
  }

  /** Whether MongoDB did not acknowledge the last writes when the writers were stopped. */
  get isStuck(): boolean {
    return this.#isStuck;
  }

  /** @param onFailure A writer has failed. The others go on. */
  start(onFailure: (error: Error) => void): void {
    this.#startedAtMs = performance.now();
    const writers = this.#sequences.map((_sequence, writer) => this.#write(writer));
    this.#running = Promise.all(
      writers.map((writer) => writer.catch(async (error: unknown) => onFailure(await this.#failure(error)))),
    ).then(() => {});
  }

  /** Ends all writers, whether or not MongoDB answers. @returns The last acknowledged write of each document. */
  async stop(): Promise<readonly number[]> {
    this.#abort.abort();
    this.#stoppedAtMs ??= performance.now();
    if (!this.#isStuck) this.#isStuck = !(await endsWithin(this.#running, STOP_WITHIN_MS));
    return this.#finals;
  }

  /**
   * Deletes the documents of this run, unless they are kept, and disconnects.
   * @returns Which documents remain although they should not, and how to delete them; `null` if none do. It never throws,
   * because the result of a run is worth more than a tidy end.
   */
  async close(keepsDocuments: boolean): Promise<string | null> {
    const leftover = keepsDocuments || this.#inserting === undefined ? null : await this.#delete();
    await endsWithin(this.#client.close(), DISCONNECT_WITHIN_MS);
    return leftover;
  }

  async #delete(): Promise<string | null> {
    const { database, collection, run, scenario } = this.#options;
    // An insert that arrives after the deletion would remain.
    const hasInserted = await endsWithin(this.#inserting ?? Promise.resolve(), STOP_WITHIN_MS);
    const withinMs = this.#isStuck || !hasInserted ? DELETE_STUCK_WITHIN_MS : DELETE_WITHIN_MS;
    // By the index on `_id`: the collection may be the large one of an application.
    const range = { $gte: `load-${run}-`, $lt: `load-${run}.` };
    let reason = `MongoDB did not answer within ${withinMs / 1_000} s`;
    const deleting = this.#collection
      .deleteMany({ _id: range }, { maxTimeMS: withinMs })
      .then(() => {
        reason = "";
      })
      .catch(async (error: unknown) => {
        reason = (await this.#failure(error)).message;
      });
    if ((await endsWithin(deleting, withinMs)) && reason === "" && hasInserted) return null;
    const command = `db.getSiblingDB(${JSON.stringify(database)}).getCollection(${JSON.stringify(collection)}).deleteMany({ _id: ${JSON.stringify(range)} })`;
    return `Up to ${scenario.documents} documents of this run (load-${run}-…) may remain in ${database}.${collection}: ${reason || "an insert was not answered"}. Delete them in mongosh: ${command}`;
  }

  async #begin(signal: AbortSignal): Promise<void> {
    await this.#client.connect();
    checkMembers(this.#members, this.#options.isOwned ?? false);
    if (signal.aborted) return;
    this.#inserting = this.#insert(signal);
    await this.#inserting;
  }

  async #insert(signal: AbortSignal): Promise<void> {
    const { scenario, writers } = this.#options;
    for (let d = 0; d < scenario.documents && !signal.aborted; d += BULK_MAX) {
      const length = Math.min(BULK_MAX, scenario.documents - d);
      const documents = Array.from({ length }, (_document, at) => this.#document(d + at, (d + at) % writers));
      await this.#collection.insertMany(documents, { ordered: true });
    }
  }

  #document(d: number, writer: number): LoadDocument {
    this.#finals[d] = 0;
    const mark = this.#mark(d, writer, 0, preciseNow());
    return { ...this.#options.scenario.document(d, writer), _id: this.#idOf(d), [MARK_FIELD]: mark };
  }

  #idOf(d: number): string {
    return `load-${this.#options.run}-${d}`;
  }

  #mark(doc: number, writer: number, n: number, at: number): Mark {
    const seq = this.#sequences[writer] ?? 0;
    this.#sequences[writer] = seq + 1;
    return { run: this.#options.run, doc, n, writer, seq, at };
  }

  async #write(writer: number): Promise<void> {
    const { scenario, writers, rate } = this.#options;
    const { signal } = this.#abort;
    const own = Math.ceil((scenario.documents - writer) / writers);
    while (!signal.aborted) {
      const done = this.#done[writer] ?? 0;
      const elapsedMs = performance.now() - this.#startedAtMs;
      const length = Math.min(dueCount(elapsedMs, rate) - done, BULK_MAX);
      if (length > 0) {
        this.#lagMs = Math.max(this.#lagMs, elapsedMs - dueAfterMs(done + 1, rate));
        // From the present time, because the clock may have been set since the start.
        const startedAtMs = preciseNow() - elapsedMs;
        const due = Array.from({ length }, (_due, at) => ({
          d: writer + ((done + at) % own) * writers,
          at: startedAtMs + dueAfterMs(done + at + 1, rate),
        }));
        await this.#update(writer, due);
        this.#done[writer] = done + length;
      }
      const nowMs = performance.now() - this.#startedAtMs;
      await pause(Math.ceil(TICK_MS - (nowMs % TICK_MS)), signal);
    }
  }

  async #update(writer: number, due: readonly { readonly d: number; readonly at: number }[]): Promise<void> {
    const marks = new Map<number, number>();
    const updates = due.map(({ d, at }) => {
      const n = (marks.get(d) ?? this.#finals[d] ?? 0) + 1;
      marks.set(d, n);
      const update = { $set: { [MARK_FIELD]: this.#mark(d, writer, n, at) } };
      return { updateOne: { filter: { _id: this.#idOf(d) }, update } };
    });
    await this.#collection.bulkWrite(updates, { ordered: true });
    for (const [d, n] of marks) this.#finals[d] = n;
    this.#writes += updates.length;
  }

  async #failure(thrown: unknown): Promise<Error> {
    const error = causeOfBulk(thrown);
    const { database, collection } = this.#options;
    const namespace = `${database}.${collection}`;
    if (error instanceof MongoServerError) {
      const advice = {
        [UNAUTHORIZED]: `the user of --mongodb may not write to ${namespace}: grant it readWrite on ${database}`,
        [AUTHENTICATION_FAILED]:
          "MongoDB refuses the name or the password in --mongodb; authSource in the URI names the database of the user",
        [VALIDATION_FAILED]: `the validator of ${namespace} refuses the documents: give them the fields that it wants, by document in the scenario`,
      }[Number(error.code)];
      if (advice !== undefined) return new StartupError(advice, [], { cause: error });
      return new StartupError(`MongoDB refuses the writes to ${namespace}: ${error.message}`, [], {
        cause: error,
      });
    }
    if (isMongoFailure(error)) return unreachable(error, this.#client);
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** The driver reports the failure of a connection during a bulk as an error of the server, which contains it. */
function causeOfBulk(error: unknown): unknown {
  const cause: unknown = error instanceof MongoBulkWriteError ? error.errorResponse : undefined;
  return cause instanceof Error ? cause : error;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}
