import { setTimeout as sleep } from "node:timers/promises";
import { foundNoServer, isMongoFailure } from "../source/mongo.ts";
import type { CommitBatch } from "../source/read-commits.ts";
import { classifyStreamError, StreamStalledError } from "../source/stream-errors.ts";
import { AFTER, BEFORE, type CursorCodec, type Position } from "./cursor.ts";
import { HistoryEntry } from "./history.ts";
import type { Limiter } from "./limiter.ts";

export interface OplogBatch {
  readonly entries: readonly HistoryEntry[];
  /** Everything up to here has been given. */
  readonly until: Position;
}

type Open = (from: bigint, signal: AbortSignal) => AsyncGenerator<CommitBatch, void, void>;

/** Who comes within this time shares one stream: after a restart of many clients they all come at once. */
const GATHER_MS = 25;
/** What a stream keeps for those who read it slower than the fastest, in bytes of change events. */
const KEPT_BYTES_MAX = 16 * 1_048_576;
/** About how long after a failure the stream is opened again, in milliseconds. */
const RETRY_MS = 1_000;
/**
 * A read is given up after so many failures in a row, besides those for which no server was found: an outage is waited for,
 * but where the servers answer and this read fails all the same, it always will.
 */
const FAILURES_MAX = 20;

/**
 * One change stream from a cluster time on, read once for all who share it, at the pace of the fastest. Whoever
 * falls too far behind it finds the beginning gone.
 */
class SharedStream {
  readonly #batches: AsyncGenerator<CommitBatch, void, void>;
  readonly #abort = new AbortController();
  readonly #codec: CursorCodec;
  /** Called once, when nobody reads any more. */
  onEnd: () => void = () => {};
  #kept: { readonly batch: OplogBatch; readonly bytes: number }[] = [];
  #keptBytes = 0;
  #dropped = 0;
  #readers = 0;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #reading: Promise<void> | undefined;
  #last: HistoryEntry | undefined;

  constructor(from: bigint, open: Open, codec: CursorCodec) {
    this.#batches = open(from, this.#abort.signal);
    this.#codec = codec;
  }

  join(): void {
    this.#readers++;
  }

  /** The last one to leave ends it. */
  leave(): void {
    this.#readers--;
    if (this.#readers === 0) this.end();
  }

  end(): void {
    this.#abort.abort();
    this.onEnd();
  }

  /** Batch number `index`; `null` at the end of the stream, or where the batch is gone already. */
  async batch(index: number): Promise<OplogBatch | null> {
    for (;;) {
      if (index < this.#dropped) return null;
      const kept = this.#kept[index - this.#dropped];
      if (kept !== undefined) return kept.batch;
      if (this.#ended) return null;
      // Also for one who comes to it later: a generator that has thrown would only say that it has ended.
      if (this.#failure !== undefined) throw this.#failure.error;
      this.#reading ??= this.#read().finally(() => {
        this.#reading = undefined;
      });
      await this.#reading;
    }
  }

  async #read(): Promise<void> {
    const next = await this.#batches.next().catch((error: unknown) => {
      this.#failure = { error };
      throw error;
    });
    if (next.done === true) {
      this.#ended = true;
      return;
    }
    let bytes = 0;
    const entries = next.value.commits.map((commit) => {
      bytes += commit.bytes;
      this.#last = new HistoryEntry(0, commit, this.#codec, this.#last);
      return this.#last;
    });
    this.#kept.push({ batch: { entries, until: this.#until(next.value.through) }, bytes });
    this.#keptBytes += bytes;
    while (this.#keptBytes > KEPT_BYTES_MAX && this.#kept.length > 1) {
      this.#keptBytes -= this.#kept.shift()?.bytes ?? 0;
      this.#dropped++;
    }
  }

  #until(through: bigint): Position {
    const last = this.#last;
    if (last !== undefined && last.commit.clusterTime >= through) return last.position;
    return { clusterTime: through, within: BEFORE };
  }
}

/** Opens a stream again from a position; `null` where the oplog does not reach back to it. */
type OpenAgain = (from: Position) => Promise<SharedStream | null>;

/** The commits after a position that the history no longer holds, out of the oplog; call `end` when done. */
export class OplogRead {
  readonly #openAgain: OpenAgain;
  /** `undefined` while it is being opened again, and after the end. */
  #stream: SharedStream | undefined;
  /** Commits up to here are covered: those of the position asked for, and later those that were given. */
  #from: Position;
  /** Still at commits that the position may cover. */
  #skipping = true;
  #left = false;
  /** Since the last progress. */
  #failures = 0;

  /** @param stream Joined already. */
  constructor(stream: SharedStream, from: Position, openAgain: OpenAgain) {
    this.#stream = stream;
    this.#from = from;
    this.#openAgain = openAgain;
  }

  /**
   * The batches, and how many entries at the front of each the position already covers. Ends without having come
   * to the present where this reader was too slow for the others. An outage of MongoDB is waited for: to start over would
   * lose the missed changes for a subscriber without a snapshot.
   */
  async *batches(): AsyncGenerator<{ batch: OplogBatch; covered: number }, void, void> {
    for (let index = 0; ; index++) {
      if (this.#stream === undefined) return;
      const batch = await this.#stream.batch(index).catch((error: unknown) => {
        if (this.#left || !this.#mayPass(error, index)) throw error;
        return { failed: error };
      });
      if (batch === null) return;
      if ("failed" in batch) {
        await this.#reopen(batch.failed);
        index = -1;
        continue;
      }
      yield { batch, covered: this.#countCovered(batch) };
      if (!this.#skipping || batch.until.clusterTime > this.#from.clusterTime) {
        this.#from = batch.until;
        this.#failures = 0;
      }
    }
  }

  /** @throws `error` where the oplog no longer reaches back so far, or nobody waits any more. */
  async #reopen(error: unknown): Promise<void> {
    this.#stream?.leave();
    this.#stream = undefined;
    let stream: SharedStream | null | "later" = "later";
    while (stream === "later") stream = await this.#tryAgain();
    if (stream === null) throw error;
    if (this.#left) {
      stream.leave();
      throw error;
    }
    this.#stream = stream;
    this.#skipping = true;
  }

  async #tryAgain(): Promise<SharedStream | null | "later"> {
    await sleep(RETRY_MS * (0.5 + Math.random()));
    try {
      return this.#left ? null : await this.#openAgain(this.#from);
    } catch (error) {
      if (!this.#mayPass(error, 0)) throw error;
      return "later";
    }
  }

  /**
   * Whether the rest may be read later.
   * @param batches Those that the stream has given. One that stalls at the first has too much to look through, and would
   * have no less the next time.
   */
  #mayPass(error: unknown, batches: number): boolean {
    if (foundNoServer(error)) return true;
    if (++this.#failures > FAILURES_MAX) return false;
    if (error instanceof StreamStalledError) return batches > 0;
    return isMongoFailure(error) && classifyStreamError(error) !== "place-lost";
  }

  end(): void {
    if (this.#left) return;
    this.#left = true;
    this.#stream?.leave();
    this.#stream = undefined;
  }

  #countCovered({ entries }: OplogBatch): number {
    if (!this.#skipping) return 0;
    const { clusterTime, within } = this.#from;
    const first = entries.findIndex(
      ({ commit }) =>
        commit.clusterTime > clusterTime || (commit.clusterTime === clusterTime && within === BEFORE),
    );
    const end = first < 0 ? entries.length : first;
    if (first >= 0) this.#skipping = false;
    if (within === AFTER || within === BEFORE) return end;
    // Of several commits of its time, those up to the one that the position names.
    for (let index = 0; index < end; index++) {
      const entry = entries[index];
      if (entry?.commit.clusterTime !== clusterTime || entry.position.within !== within) continue;
      this.#skipping = false;
      return index + 1;
    }
    return end;
  }
}

interface Request {
  readonly from: Position;
  readonly resolve: (stream: SharedStream | null) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Reads of the oplog for resumptions from before the history: few at a time, and each for all who ask while it is
 * prepared, so that a crowd that comes back costs a stream or two.
 */
export class OplogReads {
  readonly #open: Open;
  readonly #places: Limiter;
  readonly #onChange: (held: number) => void;
  #requests: Request[] = [];
  #gathering = false;

  constructor(open: Open, places: Limiter, onChange: (held: number) => void) {
    this.#open = open;
    this.#places = places;
    this.#onChange = onChange;
  }

  /**
   * @returns `null` where the oplog does not reach back to the position.
   * @throws The server's error.
   */
  async request(from: Position, codec: CursorCodec): Promise<OplogRead | null> {
    const openAgain = (position: Position) => this.#request(position, codec);
    const stream = await openAgain(from);
    return stream === null ? null : new OplogRead(stream, from, openAgain);
  }

  #request(from: Position, codec: CursorCodec): Promise<SharedStream | null> {
    return new Promise((resolve, reject) => {
      this.#requests.push({ from, resolve, reject });
      if (!this.#gathering) void this.#serve(codec);
    });
  }

  async #serve(codec: CursorCodec): Promise<void> {
    this.#gathering = true;
    const release = await this.#places.acquire();
    this.#onChange(this.#places.held);
    await sleep(GATHER_MS);
    this.#gathering = false;
    const requests = this.#requests.sort((a, b) => (a.from.clusterTime < b.from.clusterTime ? -1 : 1));
    this.#requests = [];
    const onEnd = () => {
      release();
      this.#onChange(this.#places.held);
    };
    await this.#openFor(requests, codec, onEnd).catch((error: unknown) => {
      onEnd();
      for (const request of requests) request.reject(error);
    });
  }

  /** Begins at the oldest position that the oplog still reaches: only with the first batch does the server tell. */
  async #openFor(requests: readonly Request[], codec: CursorCodec, onEnd: () => void): Promise<void> {
    const [oldest, ...others] = requests;
    if (oldest === undefined) {
      onEnd();
      return;
    }
    const stream = new SharedStream(oldest.from.clusterTime, this.#open, codec);
    try {
      await stream.batch(0);
    } catch (error) {
      stream.end();
      if (classifyStreamError(error) !== "place-lost") throw error;
      oldest.resolve(null);
      return this.#openFor(others, codec, onEnd);
    }
    stream.onEnd = onEnd;
    for (const request of requests) {
      stream.join();
      request.resolve(stream);
    }
  }
}
