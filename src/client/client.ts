/**
 * The client of a Tidewire service, for browsers and Node. Applications import this file only; everything that it
 * exports is public API.
 */
import type { ValueMode } from "../protocol/messages.ts";
import { checkOptions } from "./check-options.ts";
import type { Companion } from "./companion.ts";
import { toEjson } from "./ejson.ts";
import type { OperationTime } from "./fences.ts";
import { HeldWindows } from "./held-windows.ts";
import { type LiveRequest, LiveResult } from "./live-result.ts";
import { Persistence, type PersistOptions } from "./persistence.ts";
import { type FindOptions, Query, type QueryHost } from "./query.ts";
import type { ReconnectOptions } from "./reconnect.ts";
import type { Doc } from "./result-set.ts";
import { Session } from "./session.ts";
import type { ConnectionState } from "./session-options.ts";
import type { TokenProvider } from "./tokens.ts";
import type { Trace } from "./trace.ts";
import type { TransportKind, WebSocketConstructor } from "./transport.ts";
import type { Filter, QueryState } from "./types.ts";
import { type Logger, Warnings } from "./warnings.ts";

export { TidewireError } from "../protocol/errors.ts";
export type { Avg, Count, GroupId, GroupValues, Max, Min, Row, Sum } from "./aggregates.ts";
export { avg, count, max, min, sum } from "./aggregates.ts";
export type { OperationTime } from "./fences.ts";
export type { PersistOptions, Saved, Store } from "./persistence.ts";
export type { FindOptions, Query } from "./query.ts";
export type { ReconnectOptions } from "./reconnect.ts";
export type { ConnectionState } from "./session-options.ts";
export type { Status } from "./status.ts";
export { indexedDbStore, memoryStore } from "./stores.ts";
export type { TokenProvider } from "./tokens.ts";
export type { TransportKind, WebSocketConstructor, WebSocketLike } from "./transport.ts";
export type {
  BsonValue,
  Change,
  EjsonValue,
  Filter,
  Observer,
  Operators,
  Path,
  Projected,
  QueryState,
  ValueAt,
} from "./types.ts";
export type { Logger } from "./warnings.ts";

/** How a client reaches its service. */
export interface ClientOptions {
  /** The address of the service: `https://live.example.com`, or with `wss:`. A path is kept as a prefix. */
  readonly url: string | URL;
  /**
   * Returns a token: for the first connection, and whenever the last one is about to expire. Default: none, which is
   * anonymous.
   */
  readonly token?: TokenProvider;
  /**
   * `false`: the client connects only after `connect()` was called. Default: `true`, the first query that is followed
   * connects.
   */
  readonly autoConnect?: boolean;
  /** How values in documents are encoded: `"json"` (the default), or lossless MongoDB Extended JSON. */
  readonly values?: ValueMode;
  /** Keeps results, so that a reloaded page continues from them. */
  readonly persist?: PersistOptions;
  /** The permitted transports, best first. Default: WebSocket, SSE and long polling. */
  readonly transports?: readonly TransportKind[];
  /** A WebSocket class for runtimes without one (Node before 22), for example that of the package `ws`. */
  readonly WebSocket?: WebSocketConstructor;
  readonly fetch?: typeof fetch;
  /** Replaces the service's advice about reconnecting. */
  readonly reconnect?: ReconnectOptions;
  /** How long making a connection may take, in milliseconds. Default: 15000. */
  readonly connectTimeoutMs?: number;
  /** How much longer than its heartbeat the service may be silent, in milliseconds. Default: 10000. */
  readonly silenceMs?: number;
  /** How long a query without followers is kept for the next one, in milliseconds. Default: 1000. */
  readonly lingerMs?: number;
  /**
   * After this time on another transport than the first one, the client tries the first one again, in milliseconds.
   * Default: 300000.
   */
  readonly upgradeAfterMs?: number;
  /**
   * Receives problems for which no `error` observer exists, once per kind. Default: `console`. `false`: nothing is
   * reported.
   */
  readonly logger?: Logger | false | undefined;
  readonly random?: () => number;
}

const DEFAULTS = {
  connectTimeoutMs: 15_000,
  silenceMs: 10_000,
  lingerMs: 1_000,
  upgradeAfterMs: 300_000,
  values: "json",
} as const;

/**
 * Makes a client. It connects when a query is followed, not before.
 * @throws {TypeError} An option is missing or malformed.
 */
export function createClient(options: ClientOptions): Client {
  return new Client(options);
}

/** A collection, under its name in the service's configuration. */
export class Collection<T extends object> {
  readonly #host: QueryHost;
  readonly #name: string;

  /** @internal */
  constructor(host: QueryHost, name: string) {
    this.#host = host;
    this.#name = name;
  }

  /**
   * A live query on the documents that match, as for `find` of MongoDB.
   * @throws {TidewireError} `bad-filter` if the filter contains a value that cannot be sent.
   */
  find(filter?: Filter<T>, options: FindOptions = {}): Query<T> {
    // `toEjson` turns an object into an object.
    const written = filter === undefined ? {} : { filter: toEjson(filter) as Record<string, unknown> };
    return new Query(this.#host, { collection: this.#name, ...written, ...options });
  }
}

/** One user's access to a service: one connection for all queries. */
export class Client {
  readonly #session: Session;
  readonly #persistence: Persistence | undefined;
  readonly #lingerMs: number;
  readonly #scope: string;
  readonly #results = new Map<string, LiveResult>();
  readonly #lingering = new Map<LiveResult, ReturnType<typeof setTimeout>>();
  readonly #listeners = new Set<(state: ConnectionState) => void>();
  readonly #host: QueryHost;
  readonly #warnings: Warnings;
  readonly #held = new HeldWindows();
  readonly #lacksWebSocket: boolean;
  #count = 0;

  /** @internal */
  constructor(options: ClientOptions, trace?: Trace) {
    const given = { ...DEFAULTS, ...options };
    const { url, transports, WebSocket } = checkOptions(options);
    const warnings = new Warnings(options.logger, url);
    this.#warnings = warnings;
    this.#lacksWebSocket = options.transports === undefined && WebSocket === undefined;
    this.#lingerMs = given.lingerMs;
    this.#scope = `${url} ${given.values} `;
    this.#persistence = options.persist === undefined ? undefined : new Persistence(options.persist);
    this.#session = new Session(
      {
        ...given,
        url,
        token: options.token,
        transports,
        WebSocket,
        fetch: options.fetch ?? ((input, init) => fetch(input, init)),
        reconnect: options.reconnect ?? {},
        random: options.random ?? Math.random,
        trace,
        onState: (state) => {
          for (const listener of [...this.#listeners]) listener(state);
        },
        onRecovering: (error) => warnings.heard(error),
        onEnded: (result) => this.#persistence?.remove(result),
        onHidden: () => this.#persistence?.flush(),
      },
      options.autoConnect ?? true,
    );
    this.#host = {
      stateOf: (key, request) => this.#results.get(key)?.state ?? this.#heldOf(request),
      acquire: (key, request) => this.#acquire(key, request),
    };
  }

  /** The state of the connection, and its transport. */
  get state(): ConnectionState {
    return this.#session.state;
  }

  collection<T extends object = Record<string, unknown>>(name: string): Collection<T> {
    return new Collection(this.#host, name);
  }

  /**
   * Calls `listener` with the connection's state, at once and after every change.
   * @returns A function that stops that.
   */
  onState(listener: (state: ConnectionState) => void): () => void {
    this.#listeners.add(listener);
    listener(this.state);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Permits to connect if `autoConnect` is off. After the service has refused the client, starts again with a new
   * token.
   */
  connect(): void {
    this.#session.connect();
  }

  /** Ends the connection and all queries. `connect` starts them again. */
  close(): void {
    this.#persistence?.flush();
    this.#session.stop();
  }

  /**
   * Settles once every query shows everything written up to `operationTime`, which the driver returns to the backend
   * that wrote: read your own writes. Needs a WebSocket.
   * @throws {TidewireError} `unavailable` if that takes too long.
   */
  fence(operationTime: OperationTime): Promise<void> {
    return this.#session.fence(operationTime);
  }

  /** @internal Lets another entry of the package use the connection. Returns how to end it if nothing needs it. */
  attach(companion: Companion): () => void {
    return this.#session.attach(companion);
  }

  #heldOf(request: LiveRequest): QueryState<Doc> {
    return this.#held.stateOf(request, this.#results.values());
  }

  #acquire(key: string, request: LiveRequest): LiveResult {
    const known = this.#results.get(key);
    if (known !== undefined) {
      clearTimeout(this.#lingering.get(known));
      this.#lingering.delete(known);
      return known;
    }
    const result = new LiveResult(`${++this.#count}`, this.#scope + key, request, this.#heldOf(request), {
      abandoned: () => this.#abandoned(key, result),
      moved: () => this.#persistence?.moved(result),
      heard: (error) => this.#warnings.heard(error),
      unheard: (error) => this.#warnings.unheard(error, request.collection),
    });
    if (this.#lacksWebSocket) this.#warnings.noWebSocket();
    this.#results.set(key, result);
    this.#session.add(result);
    if (this.#persistence === undefined) this.#session.ready(result);
    else void this.#restore(result, this.#persistence);
    return result;
  }

  async #restore(result: LiveResult, persistence: Persistence): Promise<void> {
    const saved = await persistence.load(result);
    if (saved !== undefined && result.isUsed) result.restore(saved);
    this.#session.ready(result);
  }

  /** Keeps the result for a moment, because an application that leaves a query often follows it again at once. */
  #abandoned(key: string, result: LiveResult): void {
    const end = () => {
      this.#lingering.delete(result);
      if (this.#results.get(key) === result) this.#results.delete(key);
      this.#session.remove(result);
    };
    if (result.state.status === "stopped") end();
    else this.#lingering.set(result, setTimeout(end, this.#lingerMs));
  }
}
