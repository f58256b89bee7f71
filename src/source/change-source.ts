import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type Db, MongoClient, type MongoClientOptions } from "mongodb";
import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import {
  type ChangeStreamOptions,
  RawChangeStream,
  StreamStalledError,
  type StreamStart,
} from "./change-stream.ts";
import { CheckpointStore } from "./checkpoint-store.ts";
import { CheckpointWriter } from "./checkpoint-writer.ts";
import { earlier, formatClusterTime } from "./cluster-time.ts";
import type { Deployment } from "./deployment.ts";
import type { Epoch } from "./epoch-store.ts";
import { ImageFiller } from "./image-filler.ts";
import { type CommitBatch, type NoticeHandler, readCommits } from "./read-commits.ts";
import { classifyStreamError } from "./stream-errors.ts";

/** What takes the commits on. Both calls are synchronous: whatever is accepted is accepted whole. */
export interface CommitSink {
  /**
   * An order of changes begins: everything after `from`, `from` included, will follow. What was known before
   * is void, as changes may be missing between it and `from`.
   */
  begin(epoch: Epoch, from: bigint): void;
  accept(batch: CommitBatch): void;
}

export interface ChangeSourceOptions {
  readonly uri: string;
  readonly clientOptions: MongoClientOptions;
  /** `database.collection` of every configured collection. */
  readonly namespaces: readonly string[];
  /** How far back reading begins, in milliseconds, so that the history is filled at once. */
  readonly startBeforeMs: number;
  readonly awaitTimeMs: number;
  readonly progressTimeoutMs: number;
  readonly checkpointIntervalMs: number;
  /** The server knows of pre- and post-images. */
  readonly images: boolean;
  readonly onNotice: NoticeHandler;
}

export type SourceState = "starting" | "running" | "interrupted" | "stopped";

const BATCH_SIZE = 1_000;
const BACKOFF_MS = { first: 100, most: 5_000 };
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
  #client: MongoClient;
  #stream: RawChangeStream | undefined;
  #watched: ReadonlySet<string>;
  #next: StreamStart = { now: true };
  /** Everything before this cluster time was accepted, and of the time itself the commits in `#atThrough`. */
  #through = 0n;
  #atThrough = new Set<string>();
  /** Commits up to `#through` may come again after the stream was opened by time. */
  #dropKnown = false;
  #epoch: Epoch | undefined;
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
      client: MongoClient;
      stateDatabase: Db;
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
    this.#watched = new Set(options.namespaces);
    this.#filler = new ImageFiller(parts.client, (namespace) => {
      parts.metrics.imagesMissing.inc();
      parts.onMissingImage(namespace);
    });
    this.#client = this.#newClient();
    this.#store = new CheckpointStore(parts.stateDatabase, "default", parts.node);
    this.#checkpoints = new CheckpointWriter(this.#store, options.checkpointIntervalMs, parts);
  }

  get state(): SourceState {
    return this.#state;
  }

  /** Everything that had happened when the stream was opened first has been accepted. */
  get caughtUp(): boolean {
    return this.#caughtUpAt !== null && this.#through >= this.#caughtUpAt;
  }

  /** When the server last answered the stream, in epoch milliseconds; 0 if never. */
  get lastAnswerMs(): number {
    return this.#lastAnswerMs;
  }

  /** Follows other collections from here on; what is known stays good. */
  watch(namespaces: readonly string[]): void {
    this.#watched = new Set(namespaces);
    // A token is not portable to a pipeline that leaves its event out; a cluster time is.
    this.#next = { atTime: this.#through };
    this.#dropKnown = true;
    this.#stream?.close();
    this.#stream = undefined;
  }

  /** Reads until `signal` aborts. Only a failure to find a first start rejects. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener("abort", () => this.#stream?.close(), { once: true });
    let failures = 0;
    let started = false;
    while (!signal.aborted) {
      try {
        if (!started) await this.#start();
        started = true;
        await this.#follow(signal, () => {
          failures = 0;
        });
      } catch (error) {
        if (signal.aborted) break;
        this.#state = "interrupted";
        this.#metrics.streamState.set(0);
        await this.#recover(error, signal, failures++);
      }
    }
    this.#state = "stopped";
    this.#metrics.streamState.set(0);
    await this.#checkpoints.stop();
    await this.#client.close(true);
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

  /** Decides where to begin: at the checkpoint or, to fill the history, further back, whichever is older and there. */
  async #start(): Promise<void> {
    const { epoch, changed } = await this.#deployment.epoch();
    const saved = await this.#store.load();
    // Only now: other nodes go on saving positions, and none of them may seem to lie in the future.
    const now = await this.#deployment.now();
    const checkpoint = saved?.epoch === epoch.id ? saved.clusterTime : null;
    if (changed) this.#log.warn("this is another deployment than before: every earlier cursor will be reset");
    if (checkpoint !== null && checkpoint > now) {
      const next = await this.#deployment.newEpoch("the deployment went back in time", epoch.id);
      this.#log.error(
        { checkpoint: formatClusterTime(checkpoint), now: formatClusterTime(now) },
        "the saved position lies in the future: the deployment was restored or replaced; a new epoch begins",
      );
      this.#metrics.placeLost.inc();
      return this.#begin(next, { atTime: now }, now, now);
    }
    const wanted = earlier(now, this.#options.startBeforeMs);
    const candidates = [wanted, ...(checkpoint === null ? [] : [checkpoint])].sort((a, b) =>
      a < b ? -1 : 1,
    );
    let start = now;
    let tooOld = false;
    for (const from of candidates) {
      if (await this.#reaches(from)) {
        start = from;
        break;
      }
      tooOld ||= from === checkpoint;
    }
    // Also where reading begins later anyway: clients come back with cursors from before. Only now, as each
    // question above can fail and is then asked again.
    if (checkpoint !== null && tooOld) this.#noteTooOld(checkpoint, now);
    return this.#begin(epoch, { atTime: start }, start, now);
  }

  #noteTooOld(checkpoint: bigint, now: bigint): void {
    this.#metrics.placeLost.inc();
    this.#log.error(
      { checkpoint: formatClusterTime(checkpoint), now: formatClusterTime(now) },
      "the oplog no longer reaches back to the saved position: changes were missed, subscribers will be reset; make the oplog larger",
    );
  }

  #begin(epoch: Epoch, start: StreamStart, from: bigint, now: bigint): void {
    this.#epoch = epoch;
    this.#next = start;
    this.#through = from;
    this.#atThrough.clear();
    this.#dropKnown = false;
    this.#caughtUpAt ??= now;
    this.#checkpoints.reset();
    this.#sink.begin(epoch, from);
    this.#log.info({ epoch: epoch.id, from: formatClusterTime(from) }, "the change stream begins");
  }

  /** Whether the oplog still reaches back to `from`. */
  async #reaches(from: bigint): Promise<boolean> {
    const stream = await RawChangeStream.open(this.#client, { atTime: from }, this.#streamOptions()).catch(
      (error: unknown) => {
        if (classifyStreamError(error) === "place-lost") return null;
        throw error;
      },
    );
    if (stream === null) return false;
    try {
      await stream.next(1); // with a first batch of size 0, the server looks for the place only here
      return true;
    } catch (error) {
      if (classifyStreamError(error) === "place-lost") return false;
      throw error;
    } finally {
      stream.close();
    }
  }

  async #follow(signal: AbortSignal, onProgress: () => void): Promise<void> {
    const watched = this.#watched;
    this.#metrics.streamOpens.inc();
    const stream = await RawChangeStream.open(this.#client, this.#next, this.#streamOptions());
    this.#stream = stream;
    try {
      for await (const batch of readCommits(stream, watched, this.#options.onNotice)) {
        if (signal.aborted || watched !== this.#watched) return;
        if (this.#state !== "running") this.#metrics.streamState.set(1);
        this.#state = "running";
        this.#lastAnswerMs = Date.now();
        this.#stalls = 0;
        onProgress();
        // Order matters: a checkpoint never says more than what the sink has accepted.
        this.#accept(await this.#filler.fill(batch));
        this.#advance(batch);
      }
    } catch (error) {
      if (watched !== this.#watched) return; // closed by `watch`
      throw error;
    } finally {
      stream.close();
    }
  }

  #accept(batch: CommitBatch): void {
    const commits = this.#dropKnown
      ? batch.commits.filter((commit) => !this.#isKnown(commit.clusterTime, commit.identity))
      : batch.commits;
    this.#sink.accept(commits === batch.commits ? batch : { ...batch, commits });
    for (const commit of commits) {
      for (const event of commit.events) this.#metrics.changeEventsBy[event.operation].inc();
    }
  }

  #isKnown(clusterTime: bigint, identity: string): boolean {
    return clusterTime < this.#through || (clusterTime === this.#through && this.#atThrough.has(identity));
  }

  #advance(batch: CommitBatch): void {
    if (batch.through > this.#through) {
      this.#through = batch.through;
      this.#atThrough.clear();
      this.#dropKnown = false;
    } else if (batch.through !== 0n && batch.through < this.#through && !this.#dropKnown) {
      this.#log.warn(
        { through: formatClusterTime(this.#through), got: formatClusterTime(batch.through) },
        "the change stream went back; what was had is dropped",
      );
      this.#dropKnown = true;
    }
    for (const commit of batch.commits) {
      if (commit.clusterTime === this.#through) this.#atThrough.add(commit.identity);
    }
    if (batch.invalidated !== undefined) this.#next = { startAfter: batch.invalidated };
    else if (batch.resumeToken !== undefined) this.#next = { resumeAfter: batch.resumeToken };
    if (batch.resumeToken === undefined || this.#epoch === undefined) return;
    this.#checkpoints.note({
      token: batch.resumeToken,
      clusterTime: this.#through,
      epoch: this.#epoch.id,
      fingerprint: fingerprintOf(this.#watched),
    });
  }

  async #recover(error: unknown, signal: AbortSignal, failures: number): Promise<void> {
    const kind = classifyStreamError(error);
    this.#metrics.streamErrors.inc({ kind });
    if (kind === "place-lost" && this.#epoch !== undefined) {
      this.#log.error(
        { err: error, through: formatClusterTime(this.#through) },
        "the place in the change stream is lost: changes were missed, every live query is reset",
      );
    } else {
      this.#log.warn({ err: error, failures }, "the change stream was interrupted; it will be opened again");
    }
    if (error instanceof StreamStalledError) {
      this.#stalls++;
      this.#replaceClient();
    }
    const ceiling = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** Math.min(failures, 10));
    await sleep(ceiling / 2 + (Math.random() * ceiling) / 2, undefined, { signal }).catch(() => {});
    try {
      if (!signal.aborted && this.#epoch !== undefined)
        await this.#checkPlace(this.#epoch, kind === "place-lost");
    } catch (cause) {
      this.#log.warn({ err: cause }, "MongoDB cannot be reached");
    }
  }

  /**
   * A position in the future, or one of another deployment, is no error to the server: it would stay silent.
   * So after each interruption it is asked whether it still is the deployment that we were reading.
   */
  async #checkPlace(known: Epoch, lost: boolean): Promise<void> {
    const now = await this.#deployment.now();
    const { epoch } = await this.#deployment.epoch();
    const wentBack = epoch.id === known.id && now < this.#through;
    if (!lost && !wentBack && epoch.id === known.id) return;
    const next = wentBack
      ? await this.#deployment.newEpoch("the deployment went back in time", known.id)
      : epoch;
    this.#metrics.placeLost.inc();
    if (!lost)
      this.#log.error(
        { epoch: next.id },
        "this is another deployment, or a restored one: every live query is reset",
      );
    this.#begin(next, { atTime: now }, now, now);
  }

  #replaceClient(): void {
    const abandoned = this.#client;
    this.#client = this.#newClient();
    // Not awaited: closing waits for the very node that does not answer.
    abandoned.close(true).catch(() => {});
  }

  /** Of its own, so that the stream's long reads never take a connection from snapshots, nor the reverse. */
  #newClient(): MongoClient {
    return new MongoClient(this.#options.uri, {
      serverSelectionTimeoutMS: 5_000,
      connectTimeoutMS: 5_000,
      ...this.#options.clientOptions,
      socketTimeoutMS: this.#options.awaitTimeMs + PATIENCE_MS_MAX + 1_000,
      readPreference: "primary",
      appName: "tidewire-stream",
    });
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
   * A frozen node and one that looks through a long stretch of unwatched writes are both silent. Whoever gives up on
   * the second after the same time again and again never gets past it.
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
