import type { OperationTime } from "../client/client.ts";
import type { Inspected, Inspector } from "../client/inspector.ts";
import type { LiveResult } from "../client/live-result.ts";
import type { ServerMessage } from "../protocol/messages.ts";

/** How many changes, fences and ends of connections are kept. A page may run for days. */
const KEPT = 50;
/** The longest text of a document that is kept, in characters. */
const TEXT_MAX = 300;

/** A change as it arrived. */
export interface SeenChange {
  readonly atMs: number;
  readonly type: "added" | "changed" | "removed";
  readonly cause: string;
  readonly text: string;
}

/** A request to see everything up to a write. */
export interface SeenFence {
  readonly atMs: number;
  readonly time: string;
  outcome: string;
  tookMs: number | undefined;
}

/** The end of a connection. */
export interface SeenEnd {
  readonly atMs: number;
  readonly text: string;
}

/** A query as the tools show it. */
export interface ShownQuery {
  readonly collection: string;
  readonly request: string;
  readonly status: string;
  readonly rows: number;
  readonly bytes: number;
  /** Since the last change or watermark, in milliseconds; undefined before the first one. */
  readonly ageMs: number | undefined;
  readonly isFollowed: boolean;
  readonly why: string;
}

/** Records what clients do, with a bound on everything that it keeps. */
export class Recorder implements Inspector {
  readonly changes: SeenChange[] = [];
  readonly fences: SeenFence[] = [];
  readonly ends: SeenEnd[] = [];
  /** The messages of the service since the start, and their size as JSON. */
  messages = 0;
  bytes = 0;
  readonly #now: () => number;
  readonly #clients: Inspected[] = [];
  readonly #movedAtMs = new WeakMap<LiveResult, number>();
  readonly #listeners = new Set<() => void>();

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  get clients(): readonly Inspected[] {
    return this.#clients;
  }

  /** Calls the listener after anything has happened. @returns A function that stops that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  attach(client: Inspected): void {
    keep(this.#clients, client);
    this.#changed();
  }

  connecting(): void {
    this.#changed();
  }

  message(message: ServerMessage): void {
    this.messages++;
    this.bytes += JSON.stringify(message).length;
    if (message.type === "added" || message.type === "changed" || message.type === "removed") {
      const { type, cause, query: _query, cursor: _cursor, ...rest } = message;
      keep(this.changes, { atMs: this.#now(), type, cause, text: brief(rest) });
    }
    this.#changed();
  }

  cut(code: number, reason: string): void {
    keep(this.ends, { atMs: this.#now(), text: `${code} ${reason}`.trim() });
    this.#changed();
  }

  moved(result: LiveResult): void {
    this.#movedAtMs.set(result, this.#now());
    this.#changed();
  }

  fence(operationTime: OperationTime, settled: Promise<void>): void {
    const { t, i } = "$timestamp" in operationTime ? operationTime.$timestamp : operationTime;
    const atMs = this.#now();
    const seen: SeenFence = { atMs, time: `${t}.${i}`, outcome: "waiting", tookMs: undefined };
    keep(this.fences, seen);
    const end = (outcome: string) => {
      seen.outcome = outcome;
      seen.tookMs = this.#now() - atMs;
      this.#changed();
    };
    settled.then(
      () => end("passed"),
      (error: unknown) => end(error instanceof Error ? error.message : String(error)),
    );
    this.#changed();
  }

  /** All queries of all clients. */
  queries(): ShownQuery[] {
    return this.#clients.flatMap(({ results }) =>
      Array.from(results.values(), (result) => this.#shown(result)),
    );
  }

  #shown(result: LiveResult): ShownQuery {
    const { collection, ...request } = result.request;
    const { data, status, error } = result.state;
    const movedAtMs = this.#movedAtMs.get(result);
    return {
      collection,
      request: brief(request),
      status,
      rows: data.length,
      bytes: JSON.stringify(data).length,
      ageMs: movedAtMs === undefined ? undefined : this.#now() - movedAtMs,
      isFollowed: result.isUsed,
      why:
        error === undefined
          ? ""
          : `${error.code}: ${error.message} ${brief(error.details)}`.replace(/ \{\}$/, ""),
    };
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

function keep<T>(list: T[], item: T): void {
  list.push(item);
  if (list.length > KEPT) list.shift();
}

function brief(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
}
