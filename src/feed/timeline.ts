/**
 * The order of commits on this node. It hides whether a batch is half delivered: readers of the head either wait or
 * receive the last head at which every live query was up to date.
 */
import type { Metrics } from "../metrics/metrics.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { Commit } from "../source/change-event.ts";
import { clusterTimeOf } from "../source/cluster-time.ts";
import type { Deployment } from "../source/deployment.ts";
import type { Epoch } from "../source/epoch-store.ts";
import { Advances } from "./advances.ts";
import { CommitGate } from "./commit-gate.ts";
import { CursorCodec, type Position } from "./cursor.ts";
import { type HeadMark, History, type HistoryEntry, type Located } from "./history.ts";
import { toClientError } from "./mongo-unavailable.ts";
import type { HistoryOptions } from "./options.ts";

/** The parts that a timeline works with. */
export interface TimelineParts {
  /** The deployment's clock. A position that this node has not reached may exist already. */
  readonly deployment: Pick<Deployment, "now">;
  readonly metrics: Metrics;
}

/** How long a caller waits for a position that exists but that this node has not reached yet, in milliseconds. */
const REACH_TIMEOUT_MS = 10_000;

/**
 * The order of commits as this node knows it: the history of the latest commits, the epoch's cursors, and the head of
 * the stream. Callers wait here for a cluster time, for a position, or for the end of a batch.
 */
export class Timeline {
  readonly advances = new Advances();
  readonly #options: HistoryOptions;
  readonly #parts: TimelineParts;
  readonly #gate = new CommitGate();
  #codec: CursorCodec | undefined;
  #history: History | undefined;
  /** The head before the batch that is being delivered. */
  #headBefore: HeadMark | undefined;

  constructor(options: HistoryOptions, parts: TimelineParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** A new order of commits begins at `from`. If the epoch is another one, earlier cursors are void. */
  begin(epoch: Epoch, from: bigint): void {
    this.#codec = new CursorCodec(epoch);
    if (this.#history === undefined) {
      this.#history = new History(this.#options, this.#parts.metrics, this.#codec, from);
    } else this.#history.begin(this.#codec, from);
    this.#headBefore = undefined;
  }

  /** Gives a commit its number in the history. */
  append(commit: Commit): HistoryEntry {
    return this.history.append(commit);
  }

  /** Records that the stream was read up to this cluster time. */
  advance(through: bigint): void {
    this.history.advance(through);
  }

  /** Runs the work of one batch, after which the head is settled again. See `CommitGate.handOut`. */
  handOut(work: () => Promise<void> | undefined): Promise<void> | undefined {
    return this.#gate.handOut(() => {
      this.#headBefore = this.#history?.headMark;
      return work();
    });
  }

  /** Runs work between two batches. No commit is delivered meanwhile, even if the work pauses. */
  exclusively(work: () => Promise<void> | undefined): Promise<void> | undefined {
    return this.#gate.exclusively(work);
  }

  /** Whether positions and cursors exist already, because the stream has found its start. */
  get isReady(): boolean {
    return this.#history !== undefined;
  }

  /** Whether every live query has processed every commit. `false` while a batch is being delivered, which may yield. */
  get isSettled(): boolean {
    return this.#gate.isOpen;
  }

  /**
   * Settles when a batch has been delivered. Another waiter may begin the next one at the same moment, so callers loop:
   * `while (!timeline.isSettled) await timeline.settles`.
   */
  get settles(): Promise<void> {
    return this.#gate.opens;
  }

  /** Number of the last commit. */
  get headSeq(): number {
    return this.history.headSeq;
  }

  /** Every commit up to this cluster time has been received. */
  get headTime(): bigint {
    return this.history.headTime;
  }

  /** The position that the stream has reached. */
  get head(): Position {
    return this.history.positionOf(this.history.headMark);
  }

  /**
   * The latest head that every live query has processed. While a batch is being delivered, this is the head before it.
   */
  get settledHead(): { readonly position: Position; readonly seq: number } {
    const before = this.isSettled ? undefined : this.#headBefore;
    if (before === undefined) return { position: this.head, seq: this.headSeq };
    return { position: this.history.positionOf(before), seq: before.last?.seq ?? 0 };
  }

  /**
   * Every commit up to this cluster time has taken effect, including the rights that it withdraws. While a batch is
   * being delivered this is the head before it, because the lookups may not have seen a commit that `headTime` already
   * includes.
   */
  get settledTime(): bigint {
    return (this.isSettled ? undefined : this.#headBefore?.time) ?? this.headTime;
  }

  /** The first cluster time at `epochMs` (in epoch milliseconds), or that of the head if `epochMs` is later. */
  headTimeBy(epochMs: number): bigint {
    // Rounded up. A time that is too late only prevents that a snapshot is shared, while a time that is too early could
    // show changes from before the user had the rights.
    const time = clusterTimeOf(Math.max(0, Math.ceil(epochMs / 1_000)), 0);
    return time < this.headTime ? time : this.headTime;
  }

  /**
   * The history.
   * @throws {TidewireError} `unavailable` before the first `begin`.
   */
  get history(): History {
    if (this.#history === undefined) throw notReady();
    return this.#history;
  }

  /**
   * The codec of the current epoch.
   * @throws {TidewireError} `unavailable` before the first `begin`.
   */
  get codec(): CursorCodec {
    if (this.#codec === undefined) throw notReady();
    return this.#codec;
  }

  /**
   * Settles when every change up to `clusterTime` has been delivered to all live deliveries.
   * @throws {TidewireError} `unavailable` after `timeoutMs`.
   */
  reached(clusterTime: bigint, timeoutMs = REACH_TIMEOUT_MS): Promise<void> {
    return this.advances.until(() => this.isSettled && this.headTime >= clusterTime, timeoutMs);
  }

  /**
   * Finds a position in the history, and waits for a position that so far only other nodes have reached.
   * @returns `ahead` only for a position that does not exist.
   * @throws {TidewireError} `unavailable`
   */
  async locate(position: Position): Promise<Located> {
    const located = this.history.locate(position);
    if (located !== "ahead") return located;
    const now = await this.#parts.deployment.now(position.clusterTime).catch((cause: unknown) => {
      throw toClientError(cause);
    });
    // Only the deployment can distinguish a position that another node has reached from one that never existed.
    if (position.clusterTime > now) return "ahead";
    await this.reached(position.clusterTime);
    return this.history.locate(position);
  }
}

const notReady = () =>
  new TidewireError(
    "unavailable",
    "the service is starting: try again in a moment",
    {},
    { retryAfterMs: 1_000 },
  );
