/**
 * Keeps one change stream open for as long as the service runs. MongoDB's own change stream helper gives up on errors
 * that can be survived, and reports a node that stopped answering only after a long time, so every failure is
 * classified: the position is still valid, or it is lost and a new order of commits begins. `stream-errors.ts` decides
 * what an error means, and `stream-start.ts` where to begin.
 */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { MongoServerError } from "mongodb";
import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import type { ChangeSourceOptions } from "./change-source-options.ts";
import type { ChangeStreamOptions, RawStream } from "./change-stream.ts";
import { CheckpointStore } from "./checkpoint-store.ts";
import { CheckpointWriter, type SavesCheckpoints } from "./checkpoint-writer.ts";
import { formatClusterTime } from "./cluster-time.ts";
import { CommitIntake, type TokenScope } from "./commit-intake.ts";
import type { CommitSink } from "./commit-sink.ts";
import type { Deployment } from "./deployment.ts";
import type { Epoch } from "./epoch-store.ts";
import { ImageFiller } from "./image-filler.ts";
import { answerOf, type MongoAccess, STATE_TIMEOUT_MS } from "./mongo.ts";
import { type CommitBatch, readCommits } from "./read-commits.ts";
import { ReadSet } from "./read-set.ts";
import { ReplicationWatch } from "./replication-watch.ts";
import { splitBatch } from "./split-batch.ts";
import type { StateDatabase } from "./state-database.ts";
import { classifyStreamError, StreamStalledError } from "./stream-errors.ts";
import { type StreamDown, StreamOutage } from "./stream-outage.ts";
import { StreamPosition } from "./stream-position.ts";
import { type FoundStart, findNewStart, findStart } from "./stream-start.ts";
import { createSupply, type StreamSupply } from "./stream-supply.ts";

/** The state of the stream; `interrupted` until it is open again after a failure. */
export type SourceState = "starting" | "running" | "interrupted" | "stopped";

/** Events of one answer. Larger batches save round trips and delay the first event of a batch. */
const BATCH_SIZE = 1_000;
/**
 * Pauses between attempts to open the stream. They are short, because an attempt is cheap and the service is to recover
 * within seconds of MongoDB. After a lost position each attempt resets every client, so that pause grows longer.
 */
const BACKOFF_MS = { first: 100, most: 1_000, mostAfterLoss: 5_000 };
/** After this many failures in a row the client is replaced, even if the server answered each time. */
const SAME_CLIENT_FAILURES = 3;
/** The longest wait for one answer of the stream. The server may have to scan a long stretch of unwatched writes. */
const PATIENCE_MS_MAX = 10 * 60_000;

/**
 * Reads the one change stream of the service until it stops: opens it where the last run ended, passes its commits to
 * the sink, saves its position, and opens it again after any failure of the database.
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
  /** Runs an operation on the state database, with a timeout. */
  readonly #answer: <T>(ask: () => Promise<T>) => Promise<T>;
  readonly #position = new StreamPosition();
  readonly #intake: CommitIntake;
  readonly #supply: StreamSupply;
  readonly #reads: ReadSet;
  #stream: RawStream | undefined;
  #epoch: Epoch | undefined;
  /**
   * After an interruption nothing has confirmed yet that the server is the same deployment with the same past.
   * `#ensurePosition` asks before the stream is opened.
   */
  #doubt: "none" | "interrupted" | "position-lost" = "none";
  #state: SourceState = "starting";
  /** Cluster time of the first start; the node is ready once the stream has reached it. */
  #caughtUpAt: bigint | null = null;
  /** When the stream answered last, in epoch milliseconds; the start of an outage in metric and log. */
  #lastAnswerMs = 0;
  /** Stalls since the stream last advanced. Each one doubles the patience. */
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
    const watched = new Set([...options.namespaces, ...options.stateNamespaces]);
    this.#reads = new ReadSet(watched, () => this.#position.widen());
    const onFilled = (namespace: string) => {
      parts.metrics.imagesMissing.inc();
      parts.onMissingImage(namespace);
    };
    this.#filler = new ImageFiller(parts.client, onFilled, new Set(options.stateNamespaces));
    this.#outage = new StreamOutage(parts.log, parts.metrics);
    this.#store = new CheckpointStore(parts.stateDatabase, "default", parts.node);
    this.#answer = (ask) => answerOf(parts.client, ask, { timeoutMs: STATE_TIMEOUT_MS });
    this.#supply = createSupply(options, {
      ...parts,
      answer: this.#answer,
      through: () => this.#position.through,
      socketTimeoutMs: options.awaitTimeMs + PATIENCE_MS_MAX + 1_000,
    });
    const store: SavesCheckpoints = {
      saveInTurn: (checkpoint) => this.#answer(() => this.#store.saveInTurn(checkpoint)),
      save: (checkpoint) => this.#answer(() => this.#store.save(checkpoint)),
    };
    this.#checkpoints = new CheckpointWriter(store, options.checkpointIntervalMs, parts);
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

  /** Whether every commit from before the first start has been accepted. */
  get caughtUp(): boolean {
    return this.#caughtUpAt !== null && this.#position.through >= this.#caughtUpAt;
  }

  /** How long the stream has been down, and why; `null` while it is up. */
  get down(): StreamDown | null {
    return this.#outage.current;
  }

  /**
   * Follows these collections from here on. Commits that were accepted stay valid.
   * @param skipped The collections whose changes are not read for now.
   * @param onRead Called between two batches, once all later ones contain every change of the other collections.
   */
  watch(namespaces: readonly string[], skipped?: ReadonlySet<string>, onRead?: () => void): void {
    const all = new Set([...namespaces, ...this.#options.stateNamespaces]);
    const isOther = all.size !== this.#reads.all.size || [...all].some((name) => !this.#reads.all.has(name));
    if (!this.#reads.change(all, skipped, onRead)) return;
    // A resume token is valid only for the pipeline that produced it, and the pipeline is about to change. A cluster
    // time is valid for all.
    this.#position.openByTime();
    this.#stream?.close();
    this.#stream = undefined;
    if (isOther) this.#supply.pipelineChanged();
  }

  /** Reads until `signal` aborts, whatever happens to MongoDB. */
  // An idle read can take seconds. Closing the stream ends it at once.
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
    await this.#supply.close();
  }

  /**
   * Reads commits from `from` on, for a resumption from before the history. Ends when `signal` aborts.
   * @throws The server's error, such as ChangeStreamHistoryLost, at the first step or a later one.
   */
  async *read(from: bigint, signal: AbortSignal): AsyncGenerator<CommitBatch, void, void> {
    // All collections, also those that are not read now: this is how their past is read.
    const { all } = this.#reads;
    const stream = await this.#supply.openOwn({ atTime: from }, this.#streamOptions(all));
    const close = () => stream.close();
    signal.addEventListener("abort", close, { once: true });
    try {
      for await (const batch of readCommits(stream, all)) {
        if (signal.aborted) return;
        yield await this.#filler.fill(batch);
      }
    } finally {
      signal.removeEventListener("abort", close);
      stream.close();
    }
  }

  /**
   * Finds the start position, or confirms that the current one is still valid. The stream is never opened before that,
   * because the server reports no error for a position of another deployment: such a stream would simply stay silent.
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
    // First, because this step can fail. Then nothing has changed yet, and the next attempt looks for the start again.
    await this.#sink.prepare(now);
    this.#epoch = epoch;
    this.#position.begin(from);
    this.#caughtUpAt ??= now;
    this.#checkpoints.reset();
    await this.#sink.begin(epoch, from);
    this.#log.info({ epoch: epoch.id, from: formatClusterTime(from) }, "change stream started");
  }

  /** Whether the oplog still contains `from`. */
  async #reaches(from: bigint): Promise<boolean> {
    const stream = await this.#supply
      .openOwn({ atTime: from }, this.#streamOptions(this.#reads.all))
      .catch((error: unknown) => {
        if (classifyStreamError(error) === "position-lost") return null;
        throw error;
      });
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

  /** Reads the stream until it has to be opened again: after an invalidate event, or for other collections. */
  async #follow(signal: AbortSignal, onProgress: () => void): Promise<void> {
    const reads = this.#reads;
    const { all, version } = reads;
    const isOutdated = () => version !== reads.version;
    const target = reads.opening();
    const epoch = this.#epoch?.id ?? "";
    const shared = { epoch, fingerprint: fingerprintOf(all), watched: all, stream: this.#streamOptions(all) };
    const stream = await this.#supply.open(this.#position, shared, this.#streamOptions(target));
    this.#stream = stream;
    const { isShared } = this.#supply;
    const scope = { epoch, fingerprint: fingerprintOf(isShared ? all : target) };
    const replication = new ReplicationWatch((least) => this.#deployment.now(least), this.#options.staleMs);
    const next = async (awaitMs?: number) => {
      const batch = await replication.next(stream, awaitMs);
      reads.arrived();
      return batch;
    };
    try {
      if (isOutdated()) return;
      reads.opened(isShared);
      const onSkipped = () => this.#metrics.changesSkipped.inc();
      for await (const batch of readCommits({ next }, reads, this.#options.onNotice, onSkipped)) {
        await replication.check(batch.through);
        if (signal.aborted || isOutdated()) return;
        this.#noteAnswer();
        onProgress();
        if (!(await this.#take(batch, scope, isOutdated)) || batch.invalidated !== undefined) return;
        reads.accepted();
        if (await this.#supply.canReturn(this.#position)) return;
      }
      throw new Error("the server has closed the change stream");
    } catch (error) {
      if (isOutdated()) return; // closed by `watch`
      const loss = this.#supply.tailLossOf(error);
      if (loss === null || signal.aborted) throw error;
      // The shared tail is not MongoDB, so nothing is wrong with the position, and no outage has begun.
      this.#position.openByTime();
      this.#supply.lostTail(loss);
      if (this.#doubt === "none") this.#doubt = "interrupted";
    } finally {
      stream.close();
    }
  }

  /** @returns `false` if the stream must be opened again for other collections. */
  async #take(batch: CommitBatch, scope: TokenScope, isOutdated: () => boolean): Promise<boolean> {
    const ruleNamespaces = new Set(this.#options.ruleNamespaces);
    for (const part of splitBatch(await this.#filler.fill(batch), ruleNamespaces)) {
      // `watch` was called meanwhile, so the token of the part before belongs to a pipeline that is no longer used, and this
      // part lacks the collections that are watched since.
      if (isOutdated()) break;
      await this.#intake.take(part, scope);
    }
    if (!isOutdated()) return true;
    this.#position.openByTime();
    return false;
  }

  #noteAnswer(): void {
    if (this.#state !== "running") this.#metrics.streamState.set(1);
    this.#state = "running";
    this.#outage.ended();
    this.#lastAnswerMs = Date.now();
    this.#stalls = 0;
  }

  /** Classifies the failure, reports it, and waits before the next attempt. */
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
    // Only an answer of the server proves that the client works. After any other failure its state is unknown.
    if (!(error instanceof MongoServerError) || failures >= SAME_CLIENT_FAILURES)
      this.#supply.replaceClient(`after ${failures + 1} failures of the change stream`, error);
    const most = isLost ? BACKOFF_MS.mostAfterLoss : BACKOFF_MS.most;
    const ceiling = Math.min(most, BACKOFF_MS.first * 2 ** Math.min(failures, 10));
    // Half of the wait is random, because all nodes lose the same MongoDB at the same moment.
    await sleep(ceiling / 2 + (Math.random() * ceiling) / 2, undefined, { signal }).catch(() => {}); // rejects when the source stops
  }

  #streamOptions(namespaces: ReadonlySet<string>): ChangeStreamOptions {
    const databases = new Set([...namespaces].map((name) => name.slice(0, name.indexOf("."))));
    return {
      database: databases.size === 1 ? ([...databases][0] ?? null) : null,
      namespaces: [...namespaces],
      images: this.#options.images,
      batchSize: BATCH_SIZE,
      maxAwaitMs: this.#options.awaitTimeMs,
      stallTimeoutMs: this.#patienceMs,
      readPreference: this.#options.readPreference,
    };
  }

  /**
   * A frozen server and a server that scans a long stretch of unwatched writes are both silent. A fixed patience would
   * interrupt the second one again and again, and would never get past that stretch.
   */
  get #patienceMs(): number {
    return Math.min(PATIENCE_MS_MAX, this.#options.progressTimeoutMs * 2 ** this.#stalls);
  }
}

/** Identifies the pipeline, because a resume token is valid only under the one that produced it. */
const fingerprintOf = (watched: ReadonlySet<string>): string =>
  createHash("sha256")
    .update([...watched].sort().join("\n"))
    .digest("base64url")
    .slice(0, 16);
