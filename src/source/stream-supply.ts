/**
 * Opens change streams: from a member that the read preference allows, or from the shared tail. Both give the same batches
 * in the same order, so a node may change from one to the other at any position.
 */
import type { ReadPreference } from "mongodb";
import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import {
  type ChangeStreamOptions,
  RawChangeStream,
  type RawStream,
  type StreamStart,
} from "./change-stream.ts";
import type { Deployment } from "./deployment.ts";
import type { LeaseParts } from "./lease.ts";
import { LeaseStore } from "./lease-store.ts";
import type { TailOptions } from "./options.ts";
import { clientOptions } from "./replaceable-client.ts";
import type { StateDatabase } from "./state-database.ts";
import { StaleMemberError } from "./stream-errors.ts";
import { StreamHost } from "./stream-host.ts";
import type { StreamPosition } from "./stream-position.ts";
import type { RedisPackage } from "./tail/redis-connection.ts";
import { SharedTail } from "./tail/shared-tail.ts";
import type { TailScope } from "./tail/tail-leader.ts";
import { TAIL_LOSSES, type TailLoss, TailLostError } from "./tail/tail-stream.ts";

/** Where the events of a node come from: values of a label. */
const SOURCES = ["mongodb", "tail"] as const;
/** Why a node has begun to read another source: values of a label. */
export const SWITCH_REASONS = ["start", "returned", "collections", "stream-failed", ...TAIL_LOSSES] as const;
type SwitchReason = (typeof SWITCH_REASONS)[number];

/** Supplies the node with its change stream, and with further ones for catch-up. */
export class StreamSupply {
  readonly #host: StreamHost;
  readonly #tail: SharedTail | null;
  readonly #metrics: Metrics;
  /** A stream of the tail that was opened to return to it. */
  #returning: RawStream | undefined;
  #source: (typeof SOURCES)[number] | undefined;
  /** Why the stream that is opened next may be one of another source. */
  #reason: SwitchReason = "start";
  /** Whether the last attempt to open a change stream of MongoDB has failed, so that only the shared tail is left. */
  #hasOnlyTail = false;
  /** Counts changes of the pipeline. */
  #pipelines = 0;
  readonly #leaderHost: StreamHost | null;

  /** @param leaderHost The clients with which this node fills the tail. Their failures do not end the node's own stream. */
  constructor(host: StreamHost, leaderHost: StreamHost | null, tail: SharedTail | null, metrics: Metrics) {
    this.#host = host;
    this.#leaderHost = leaderHost;
    this.#tail = tail;
    this.#metrics = metrics;
  }

  /** Opens a change stream of MongoDB. */
  async openOwn(start: StreamStart, options: ChangeStreamOptions): Promise<RawChangeStream> {
    return RawChangeStream.open(await this.#host.access(), start, options);
  }

  /**
   * Opens the stream of the node at its position.
   * @param scope The shared tail that contains all watched collections.
   * @param own The options of a change stream of MongoDB, which may contain fewer.
   */
  async open(position: StreamPosition, scope: TailScope, own: ChangeStreamOptions): Promise<RawStream> {
    const tail = this.#tail;
    const returning = this.#returning;
    this.#returning = undefined;
    // The stream before has been closed.
    if (returning === undefined) tail?.closed();
    tail?.enter(scope);
    const need = this.#hasOnlyTail ? "only-source" : "alternative";
    const shared = returning ?? (await tail?.open(position.through, need)) ?? null;
    if (shared !== null) {
      position.openByTime();
      this.#use("tail", returning === undefined ? this.#reason : "returned");
      return shared;
    }
    this.#metrics.streamOpens.inc();
    // The token of an entry of the tail belongs to the pipeline of the tail.
    if (this.isShared) position.openByTime();
    this.#hasOnlyTail = true; // unless the next line succeeds
    const stream = await this.openOwn(position.next, own);
    this.#hasOnlyTail = false;
    this.#use("mongodb", this.#reason);
    return stream;
  }

  /** Whether the stream that was opened last is that of the shared tail. */
  get isShared(): boolean {
    return this.#source === "tail";
  }

  /** Whether the node is to open its stream again, because the shared tail has reached its position. */
  async canReturn({ through }: StreamPosition): Promise<boolean> {
    if (this.#tail?.isInviting !== true) return false;
    const pipeline = this.#pipelines;
    const stream = await this.#tail.open(through, "alternative");
    if (stream === null) return false;
    if (pipeline !== this.#pipelines) {
      // The collections have changed meanwhile, and the tail that was opened lacks the new ones.
      stream.close();
      this.#tail.closed();
      return false;
    }
    this.#returning = stream;
    return true;
  }

  /** The pipeline has changed, so a stream of the tail of the earlier one is of no use. */
  pipelineChanged(): void {
    this.#reason = "collections";
    this.#pipelines++;
    this.#returning?.close();
    this.#returning = undefined;
    this.#tail?.closed("collections");
  }

  /** Why the shared tail has to be left after an error; `null` if the error has nothing to do with it. */
  tailLossOf(error: unknown): TailLoss | null {
    if (error instanceof TailLostError) return error.reason;
    return error instanceof StaleMemberError && this.isShared ? "stale-member" : null;
  }

  /** The shared tail could not be read any further. */
  lostTail(reason: TailLoss): void {
    this.#reason = reason;
    this.#tail?.left(reason);
  }

  /** The client of the stream has failed in a way that it may not recover from. */
  replaceClient(reason: string, error: unknown): void {
    replaceAfter(this.#host, reason, error);
  }

  async close(): Promise<void> {
    this.#returning?.close();
    await this.#tail?.stop();
    await this.#leaderHost?.close();
    await this.#host.close();
  }

  #use(source: (typeof SOURCES)[number], reason: SwitchReason): void {
    // Until something else is noted, the stream ends by an error or an invalidate event.
    this.#reason = "stream-failed";
    if (this.#source === source) return;
    this.#source = source;
    this.#metrics.tailSwitches.inc({ to: source, reason });
    for (const name of SOURCES) this.#metrics.streamSource.set({ source: name }, name === source ? 1 : 0);
  }
}

/** A shared tail, and the access to it. */
export interface SharedTailAccess {
  readonly options: TailOptions;
  readonly redis: RedisPackage;
  /** A name for this process that no other process has, and none has had before. */
  readonly holder: string;
  /** MongoDB's time in epoch milliseconds. */
  readonly serverNowMs: () => number;
}

/** The parts of a node that its streams work with. */
export interface SupplyParts extends Omit<LeaseParts, "store"> {
  readonly deployment: Deployment;
  readonly stateDatabase: StateDatabase;
  /** The position of the node. */
  readonly through: () => bigint;
  readonly socketTimeoutMs: number;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Makes the supply of a node. Its client is its own, so that long reads and snapshots do not take connections from each other. */
export function createSupply(
  options: {
    readonly uri: string;
    readonly connectTimeoutMs: number;
    readonly readPreference?: ReadPreference;
    readonly tail?: SharedTailAccess | undefined;
    readonly staleMs?: number;
  },
  parts: SupplyParts,
): StreamSupply {
  const { uri, connectTimeoutMs, readPreference, tail } = options;
  const clientSettings = {
    ...clientOptions(connectTimeoutMs),
    // A client that finds no server within this time is replaced, so that no later operation depends on its
    // internal state.
    serverSelectionTimeoutMS: connectTimeoutMs + 1_000,
    socketTimeoutMS: parts.socketTimeoutMs,
    appName: "tidewire-stream",
  };
  const preference = readPreference?.mode === "primary" ? undefined : readPreference;
  const onReplaced = (reason: string) =>
    parts.log.debug({ reason }, "the change stream's client was replaced");
  const newHost = () => new StreamHost(uri, clientSettings, preference ?? null, parts, onReplaced);
  const host = newHost();
  if (tail === undefined) return new StreamSupply(host, null, null, parts.metrics);
  const leaderHost = newHost();
  const shared = new SharedTail(tail.options, {
    ...parts,
    ...tail,
    staleMs: options.staleMs,
    store: new LeaseStore(parts.stateDatabase),
    access: () => leaderHost.access(),
    onClientFailed: (reason, error) => replaceAfter(leaderHost, reason, error),
  });
  return new StreamSupply(host, leaderHost, shared, parts.metrics);
}

function replaceAfter(host: StreamHost, reason: string, error: unknown): void {
  if (error instanceof StaleMemberError) host.avoidSecondaries();
  host.replace(reason);
}
