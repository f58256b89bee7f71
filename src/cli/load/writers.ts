/** The writers of a load run: they keep updating numbered documents, each at its rate. */
import { type Collection, MongoClient, MongoServerError } from "mongodb";
import { isMongoFailure } from "../../source/mongo.ts";
import { unreachable } from "../../source/start-patience.ts";
import { StartupError } from "../../source/startup-error.ts";
import { MARK_FIELD, type Mark, preciseNow } from "./mark.ts";
import type { CompiledScenario } from "./scenario.ts";

/** A writer looks this often for writes that are due. */
const TICK_MS = 10;
/** The most writes of one bulk. */
const BULK_MAX = 1_000;
const CONNECT_TIMEOUT_MS = 5_000;

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
}

/** All writers of a run. A writer that is behind its rate catches up with larger bulks. */
export class Writers {
  readonly #options: WriterOptions;
  readonly #client: MongoClient;
  readonly #collection: Collection<LoadDocument>;
  readonly #finals: number[] = [];
  readonly #sequences: number[];
  #running: Promise<void> | undefined;
  #abort = new AbortController();
  #startedAtMs = 0;
  #stoppedAtMs: number | undefined;
  #writes = 0;

  private constructor(options: WriterOptions, client: MongoClient) {
    this.#options = options;
    this.#client = client;
    this.#collection = client.db(options.database).collection(options.collection);
    this.#sequences = Array.from({ length: options.writers }, () => 0);
  }

  /**
   * Connects, and inserts the documents.
   * @throws {StartupError} MongoDB cannot be reached, or refuses the documents.
   */
  static async open(options: WriterOptions): Promise<Writers> {
    const client = new MongoClient(options.uri, {
      appName: "tidewire-load",
      serverSelectionTimeoutMS: CONNECT_TIMEOUT_MS,
      connectTimeoutMS: CONNECT_TIMEOUT_MS,
    });
    const writers = new Writers(options, client);
    try {
      await client.connect();
      await writers.#insert();
    } catch (error) {
      const failure = await writers.#failure(error);
      // Without rights or a connection nothing was inserted that would have to be deleted.
      await writers.close(false).catch(() => {});
      throw failure;
    }
    return writers;
  }

  get figures(): WriterFigures {
    const { writers, rate } = this.#options;
    const seconds =
      this.#startedAtMs === 0 ? 0 : ((this.#stoppedAtMs ?? performance.now()) - this.#startedAtMs) / 1_000;
    return { writes: this.#writes, wanted: Math.floor(seconds * rate) * writers };
  }

  /** @param onFailure A writer has failed. The others go on. */
  start(onFailure: (error: Error) => void): void {
    this.#startedAtMs = performance.now();
    const writers = this.#sequences.map((_sequence, writer) => this.#write(writer));
    this.#running = Promise.all(
      writers.map((writer) => writer.catch(async (error: unknown) => onFailure(await this.#failure(error)))),
    ).then(() => {});
  }

  /** Ends all writers. @returns The last write of each document. */
  async stop(): Promise<readonly number[]> {
    this.#abort.abort();
    this.#stoppedAtMs ??= performance.now();
    await this.#running;
    return this.#finals;
  }

  /** Deletes the documents of this run, unless they are kept, and disconnects. */
  async close(keepsDocuments: boolean): Promise<void> {
    try {
      if (!keepsDocuments) await this.#collection.deleteMany({ [`${MARK_FIELD}.run`]: this.#options.run });
    } finally {
      await this.#client.close();
    }
  }

  async #insert(): Promise<void> {
    const { scenario, writers } = this.#options;
    for (let d = 0; d < scenario.documents; d += BULK_MAX) {
      const length = Math.min(BULK_MAX, scenario.documents - d);
      const documents = Array.from({ length }, (_document, at) => this.#document(d + at, (d + at) % writers));
      await this.#collection.insertMany(documents, { ordered: true });
    }
  }

  #document(d: number, writer: number): LoadDocument {
    this.#finals[d] = 0;
    const mark = this.#mark(d, writer, 0);
    return { ...this.#options.scenario.document(d, writer), _id: this.#idOf(d), [MARK_FIELD]: mark };
  }

  #idOf(d: number): string {
    return `load-${this.#options.run}-${d}`;
  }

  #mark(doc: number, writer: number, n: number): Mark {
    const seq = this.#sequences[writer] ?? 0;
    this.#sequences[writer] = seq + 1;
    return { run: this.#options.run, doc, n, writer, seq, at: preciseNow() };
  }

  async #write(writer: number): Promise<void> {
    const { scenario, writers, rate } = this.#options;
    const { signal } = this.#abort;
    const own = Math.ceil((scenario.documents - writer) / writers);
    if (own <= 0) return;
    let done = 0;
    while (!signal.aborted) {
      const due = Math.floor(((performance.now() - this.#startedAtMs) / 1_000) * rate) - done;
      if (due > 0) {
        const length = Math.min(due, BULK_MAX);
        const documents = Array.from({ length }, (_d, at) => writer + ((done + at) % own) * writers);
        await this.#update(writer, documents);
        done += length;
      }
      await pause(TICK_MS, signal);
    }
  }

  async #update(writer: number, documents: readonly number[]): Promise<void> {
    const marks = new Map<number, number>();
    const updates = documents.map((d) => {
      const n = (marks.get(d) ?? this.#finals[d] ?? 0) + 1;
      marks.set(d, n);
      const update = { $set: { [MARK_FIELD]: this.#mark(d, writer, n) } };
      return { updateOne: { filter: { _id: this.#idOf(d) }, update } };
    });
    await this.#collection.bulkWrite(updates, { ordered: true });
    for (const [d, n] of marks) this.#finals[d] = n;
    this.#writes += updates.length;
  }

  async #failure(error: unknown): Promise<Error> {
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
