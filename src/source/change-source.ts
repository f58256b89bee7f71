import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { MongoServerError } from "mongodb";
import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import { type ChangeStreamOptions, RawChangeStream } from "./change-stream.ts";
import { type Checkpoint, CheckpointStore } from "./checkpoint-store.ts";
import { CheckpointWriter } from "./checkpoint-writer.ts";
import { formatClusterTime } from "./cluster-time.ts";
import { CommitIntake } from "./commit-intake.ts";
import type { CommitSink } from "./commit-sink.ts";
import type { Deployment } from "./deployment.ts";
import type { Epoch } from "./epoch-store.ts";
import { ImageFiller } from "./image-filler.ts";
import { answerOf, type MongoAccess, STATE_TIMEOUT_MS } from "./mongo.ts";
import { type CommitBatch, type NoticeHandler, readCommits } from "./read-commits.ts";
import { clientOptions, ReplaceableClient } from "./replaceable-client.ts";
import type { StateDatabase } from "./state-database.ts";
import { classifyStreamError, StreamStalledError } from "./stream-errors.ts";
import { type StreamDown, StreamOutage } from "./stream-outage.ts";
import { StreamPosition } from "./stream-position.ts";
import { type FoundStart, findNewStart, findStart } from "./stream-start.ts";

/** The options of a `ChangeSource`; times are in milliseconds. */
export interface ChangeSourceOptions {
  readonly uri: string;
  /** See `mongodb.connectTimeout`. */
  readonly connectTimeoutMs: number;
  /** `database.collection` of every configured collection. */
  readonly namespaces: readonly string[];
  /** Of the service's own collections, which are followed for as long as it runs. */
  readonly stateNamespaces: readonly string[];
  /** How far back reading begins, in milliseconds, so that the history is filled at once. */
  readonly startBeforeMs: number;
  readonly awaitTimeMs: number;
  readonly progressTimeoutMs: number;
  readonly checkpointIntervalMs: number;
  /** The server knows of pre- and post-images. */
  readonly images: boolean;
  readonly onNotice: NoticeHandler;
}

/** Whether the stream is being read: `interrupted` while it is being opened again. */
export type SourceState = "starting" | "running" | "interrupted" | "stopped";

const BATCH_SIZE = 1_000;
/**
 * Pauses between attempts to open the stream. Short, because an attempt is cheap and the service is to be back within
 * seconds of MongoDB. After a lost position each attempt resets every client, so that pause grows longer.
 */
const BACKOFF_MS = { first: 100, most: 1_000, mostAfterLoss: 5_000 };
/** After so many failures in a row the client is replaced, even if the server did answer. */
const SAME_CLIENT_FAILURES = 3;
/** The longest that one answer of the stream is ever waited for: the server may have a long gap to look through. */
const PATIENCE_MS_MAX = 10 * 60_000;

/**
 * Reads the one change stream of the service, for ever: opens it where the last run left off, hands its commits
 * to the sink, saves how far it got, and opens it again after whatever happens to the database.
 */
export class ChangeSource {
  readonly #options: ChangeSourceOptions;
  readonly #deployment: Deployment;
  readonly #store: CheckpointStore;
  readonly #checkpoints: CheckpointWriter;
  readonly #sink: CommitSink;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #filler: ImageFiller;
  readonly #outage: StreamOutage;
  /** Waits for an answer of the state database. */
  readonly #answer: <T>(ask: () => Promise<T>) => Promise<T>;
  readonly #position = new StreamPosition();
  readonly #intake: CommitIntake;
  /** Of its own, so that the stream's long reads never take a connection from snapshots, nor the reverse. */
  readonly #client: ReplaceableClient;
  #stream: RawChangeStream | undefined;
  #watched: ReadonlySet<string>;
  #epoch: Epoch | undefined;
  /** Since an interruption nobody has asked whether this is the same deployment, with the same past. */
  #doubt: "none" | "interrupted" | "position-lost" = "none";
  #state: SourceState = "starting";
  #caughtUpAt: bigint | null = null;
  #lastAnswerMs = 0;
  /** Stalls since the stream last moved on; each doubles the patience. */
  #stalls = 0;

  constructor(
    options: ChangeSourceOptions,
    parts: {
      deployment: Deployment;
      /** For reads beside the stream. */
      client: MongoAccess;
      stateDatabase: StateDatabase;
      onMissingImage: (namespace: string) => void;
      node: string;
      sink: CommitSink;
      log: Logger;
      metrics: Metrics;
    },
  ) {
    this.#options = options;
    this.#deployment = parts.deployment;
    this.#sink = parts.sink;
    this.#log = parts.log;
    this.#metrics = parts.metrics;
    this.#watched = new Set([...options.namespaces, ...options.stateNamespaces]);
    const onFilled = (namespace: string) => {
      parts.metrics.imagesMissing.inc();
      parts.onMissingImage(namespace);
    };
    this.#filler = new ImageFiller(parts.client, onFilled, new Set(options.stateNamespaces));
    this.#outage = new StreamOutage(parts.log, parts.metrics);
    this.#client = new ReplaceableClient(
      options.uri,
      {
        ...clientOptions(options.connectTimeoutMs),
        // A client that has found no server by then is replaced, so that nothing depends on what state it is in.
        serverSelectionTimeoutMS: options.connectTimeoutMs + 1_000,
        socketTimeoutMS: options.awaitTimeMs + PATIENCE_MS_MAX + 1_000,
        readPreference: "primary",
        appName: "tidewire-stream",
      },
      parts,
      (reason) => parts.log.debug({ reason }, "the change stream's client was replaced"),
    );
    this.#store = new CheckpointStore(parts.stateDatabase, "default", parts.node);
    this.#answer = (ask) => answerOf(parts.client, ask, { timeoutMs: STATE_TIMEOUT_MS });
    const save = (checkpoint: Checkpoint) => this.#answer(() => this.#store.save(checkpoint));
    this.#checkpoints = new CheckpointWriter({ save }, options.checkpointIntervalMs, parts);
    const { sink, log, metrics } = parts;
    this.#intake = new CommitIntake({
      sink,
      position: this.#position,
      checkpoints: this.#checkpoints,
      log,
      metrics,
    });
  }

  get state(): SourceState {
    return this.#state;
  }

  /** Everything that had happened when the stream was opened first has been accepted. */
  get caughtUp(): boolean {
    return this.#caughtUpAt !== null && this.#position.through >= this.#caughtUpAt;
  }

  /** For how long the stream has been down, and why; `null` while it is up. */
  get down(): StreamDown | null {
    return this.#outage.current;
  }

  /** Follows other collections from here on; what is known stays good. */
  watch(namespaces: readonly string[]): void {
    this.#watched = new Set([...namespaces, ...this.#options.stateNamespaces]);
    // A resume token is valid only for the pipeline that gave it, and this one is about to change.
    this.#position.openByTime();
    this.#stream?.close();
    this.#stream = undefined;
  }

  /** Reads until `signal` aborts, whatever happens to MongoDB. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener("abort", () => this.#stream?.close(), { once: true });
    let failures = 0;
    const onProgress = () => {
      failures = 0;
    };
    while (!signal.aborted) {
      try {
        await this.#ensurePosition();
        await this.#follow(signal, onProgress);
      } catch (error) {
        if (signal.aborted) break;
        await this.#recover(error, signal, failures++);
      }
    }
    this.#state = "stopped";
    this.#metrics.streamState.set(0);
    this.#outage.stop();
    await this.#checkpoints.stop();
    await this.#client.close();
  }

  /**
   * Commits from `from` on, for a resumption from before the history; ends when `signal` aborts.
   * @throws The server's error, ChangeStreamHistoryLost among them, at the first step or any other.
   */
  async *read(from: bigint, signal: AbortSignal): AsyncGenerator<CommitBatch, void, void> {
    const stream = await RawChangeStream.open(this.#client, { atTime: from }, this.#streamOptions());
    const close = () => stream.close();
    signal.addEventListener("abort", close, { once: true });
    try {
      for await (const batch of readCommits(stream, this.#watched)) {
        if (signal.aborted) return;
        yield await this.#filler.fill(batch);
      }
    } finally {
      signal.removeEventListener("abort", close);
      stream.close();
    }
  }

  /**
   * Finds where to begin, or makes sure that the position is still valid. The stream is never opened before
   * that: for a position that means nothing here the server would report no error.
   */
  async #ensurePosition(): Promise<void> {
    const parts = {
      deployment: this.#deployment,
      load: () => this.#answer(() => this.#store.load()),
      reaches: (from: bigint) => this.#reaches(from),
      log: this.#log,
      metrics: this.#metrics,
    };
    if (this.#epoch === undefined) {
      await this.#begin(await findStart(this.#options.startBeforeMs, parts));
    } else if (this.#doubt !== "none") {
      const { through } = this.#position;
      const isLost = this.#doubt === "position-lost";
      const start = await findNewStart({ epoch: this.#epoch, through, isLost }, parts);
      if (start !== null) await this.#begin(start);
    }
    this.#doubt = "none";
  }

  async #begin({ epoch, from, now }: FoundStart): Promise<void> {
    // First, because it can fail: then nothing has begun, and the start is looked for again.
    await this.#sink.prepare(now);
    this.#epoch = epoch;
    this.#position.begin(from);
    this.#caughtUpAt ??= now;
    this.#checkpoints.reset();
    await this.#sink.begin(epoch, from);
    this.#log.info({ epoch: epoch.id, from: formatClusterTime(from) }, "change stream started");
  }

  /** Whether the oplog still reaches back to `from`. */
  async #reaches(from: bigint): Promise<boolean> {
    const stream = await RawChangeStream.open(this.#client, { atTime: from }, this.#streamOptions()).catch(
      (error: unknown) => {
        if (classifyStreamError(error) === "position-lost") return null;
        throw error;
      },
    );
    if (stream === null) return false;
    try {
      await stream.next(1); // with a first batch of size 0, the server looks up the position only here
      return true;
    } catch (error) {
      if (classifyStreamError(error) === "position-lost") return false;
      throw error;
    } finally {
      stream.close();
    }
  }

  /** Reads the stream until it ends by an invalidate event, or to be opened for other collections. */
  async #follow(signal: AbortSignal, onProgress: () => void): Promise<void> {
    const watched = this.#watched;
    const scope = { epoch: this.#epoch?.id ?? "", fingerprint: fingerprintOf(watched) };
    this.#metrics.streamOpens.inc();
    const stream = await RawChangeStream.open(this.#client, this.#position.next, this.#streamOptions());
    this.#stream = stream;
    try {
      for await (const batch of readCommits(stream, watched, this.#options.onNotice)) {
        if (signal.aborted || watched !== this.#watched) return;
        this.#noteAnswer();
        onProgress();
        await this.#intake.take(await this.#filler.fill(batch), scope);
        // Other collections are watched by now: the batch's token belongs to a pipeline that is given up.
        if (watched !== this.#watched) this.#position.openByTime();
        if (batch.invalidated !== undefined) return;
      }
      throw new Error("the server has closed the change stream");
    } catch (error) {
      if (watched !== this.#watched) return; // closed by `watch`
      throw error;
    } finally {
      stream.close();
    }
  }

  #noteAnswer(): void {
    if (this.#state !== "running") this.#metrics.streamState.set(1);
    this.#state = "running";
    this.#outage.ended();
    this.#lastAnswerMs = Date.now();
    this.#stalls = 0;
  }

  /** Prepares the next attempt, and waits for its turn. */
  async #recover(error: unknown, signal: AbortSignal, failures: number): Promise<void> {
    const isLost = classifyStreamError(error) === "position-lost";
    this.#state = "interrupted";
    this.#metrics.streamState.set(0);
    this.#metrics.streamErrors.inc({ kind: isLost ? "position-lost" : "resumable" });
    this.#outage.failed(error, this.#lastAnswerMs);
    if (isLost && this.#epoch !== undefined) {
      this.#log.error(
        { err: error, through: formatClusterTime(this.#position.through) },
        "the change stream position is lost: changes were missed, every live query is reset",
      );
    }
    if (isLost) this.#sink.lost();
    this.#doubt = isLost || this.#doubt === "position-lost" ? "position-lost" : "interrupted";
    if (error instanceof StreamStalledError) this.#stalls++;
    // After anything but an answer of the server, nobody knows what state the client is in.
    if (!(error instanceof MongoServerError) || failures >= SAME_CLIENT_FAILURES)
      this.#client.replace(`after ${failures + 1} failures of the change stream`);
    const most = isLost ? BACKOFF_MS.mostAfterLoss : BACKOFF_MS.most;
    const ceiling = Math.min(most, BACKOFF_MS.first * 2 ** Math.min(failures, 10));
    // Half of the wait is random: all nodes lose the same MongoDB in the same moment.
    await sleep(ceiling / 2 + (Math.random() * ceiling) / 2, undefined, { signal }).catch(() => {}); // rejects when the source stops
  }

  #streamOptions(): ChangeStreamOptions {
    const databases = new Set([...this.#watched].map((name) => name.slice(0, name.indexOf("."))));
    return {
      database: databases.size === 1 ? ([...databases][0] ?? null) : null,
      namespaces: [...this.#watched],
      images: this.#options.images,
      batchSize: BATCH_SIZE,
      maxAwaitMs: this.#options.awaitTimeMs,
      stallTimeoutMs: this.#patienceMs,
    };
  }

  /**
   * A frozen node and a node that looks through a long stretch of unwatched writes are both silent. A fixed patience would
   * give up on the second one again and again, and would never get past that stretch.
   */
  get #patienceMs(): number {
    return Math.min(PATIENCE_MS_MAX, this.#options.progressTimeoutMs * 2 ** this.#stalls);
  }
}

/** Tells pipelines apart, since a resume token is good only under the one that gave it. */
const fingerprintOf = (watched: ReadonlySet<string>): string =>
  createHash("sha256")
    .update([...watched].sort().join("\n"))
    .digest("base64url")
    .slice(0, 16);
