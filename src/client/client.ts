/**
 * The client of a Tidewire service, for browsers and Node. Applications import this file only; everything that it
 * exports is public API.
 */
import type { TidewireError } from "../protocol/errors.ts";
import type { ValueMode } from "../protocol/messages.ts";
import { checkOptions } from "./check-options.ts";
import type { Companion } from "./companion.ts";
import { toEjson } from "./ejson.ts";
import type { OperationTime } from "./fences.ts";
import { HeldWindows } from "./held-windows.ts";
import { type Initial, InitialResults } from "./initial.ts";
import type { Inspector } from "./inspector.ts";
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
import type { ValueCodec } from "./value-codec.ts";
import { type Logger, Warnings } from "./warnings.ts";

export { TidewireError } from "../protocol/errors.ts";
export type { Avg, Count, GroupId, GroupValues, Max, Min, Row, Sum } from "./aggregates.ts";
export { avg, count, max, min, sum } from "./aggregates.ts";
export type { OperationTime } from "./fences.ts";
export type { Initial } from "./initial.ts";
export type { PersistOptions, Saved, Store } from "./persistence.ts";
export type { FindOptions, Query } from "./query.ts";
export type { ReconnectOptions } from "./reconnect.ts";
export type { ConnectionState } from "./session-options.ts";
export type { Status } from "./status.ts";
export { type ClearableStore, indexedDbStore, memoryStore } from "./stores.ts";
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
  /**
   * How values in documents are encoded: `"json"` (the default), lossless MongoDB Extended JSON, or `native` of
   * `tidewire/client/native`.
   */
  readonly values?: ValueMode | ValueCodec;
  /** Keeps results, so that a reloaded page continues from them. */
  readonly persist?: PersistOptions;
  /** Results that a server has read for this page (`prefetch`). The client shows them at once, and resumes from them. */
  readonly initial?: Initial;
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
  /** Shows what the client does: `createDevtools()` of `tidewire/devtools`. */
  readonly devtools?: Inspector | undefined;
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
export function createClient<S extends object = Untyped>(options: ClientOptions): Client<S> {
  return new Client(options);
}

/** The schema of a client whose collections have no types of their own. */
export type Untyped = Readonly<Record<never, never>>;

/** The names of the collections of a schema, or any name without one. */
type NameIn<S> = [keyof S] extends [never] ? string : keyof S & string;

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

/**
 * One user's access to a service: one connection for all queries. `S` has the type of the documents of each collection, as
 * `tidewire types` writes it.
 */
export class Client<S extends object = Untyped> {
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
  readonly #initial: InitialResults;
  readonly #lacksWebSocket: boolean;
  readonly #devtools: Inspector | undefined;
  readonly #codec: ValueCodec | undefined;
  #count = 0;

  /** @internal */
  constructor(options: ClientOptions, trace: Trace | undefined = options.devtools) {
    const given = { ...DEFAULTS, ...options };
    const [values, codec] =
      typeof given.values === "string" ? [given.values] : [given.values.mode, given.values];
    const { url, transports, WebSocket } = checkOptions(options);
    const warnings = new Warnings(options.logger, url);
    this.#warnings = warnings;
    this.#lacksWebSocket = options.transports === undefined && WebSocket === undefined;
    this.#devtools = options.devtools;
    this.#codec = codec;
    this.#lingerMs = given.lingerMs;
    this.#initial = new InitialResults(options.initial, values, codec);
    this.#scope = `${url} ${values} `;
    this.#persistence = options.persist === undefined ? undefined : new Persistence(options.persist);
    this.#session = new Session(
      {
        ...given,
        values,
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
      stateOf: (key, request) =>
        this.#results.get(key)?.state ?? this.#initial.unusedStateOf(key) ?? this.#heldOf(request),
      initialOf: (key) => this.#initial.stateOf(key),
      hasResult: (key) => {
        const result = this.#results.get(key);
        return result === undefined
          ? this.#initial.unusedStateOf(key) !== undefined
          : result.view.cursor !== undefined;
      },
      acquire: (key, request) => this.#acquire(key, request),
      client: this,
      values,
    };
    options.devtools?.attach({ client: this, results: this.#results });
  }

  /** The state of the connection, and its transport. */
  get state(): ConnectionState {
    return this.#session.state;
  }

  /** A collection, under its name in the service's configuration. */
  collection<N extends keyof S & string>(name: N): Collection<S[N] & object>;
  collection<T extends object = Record<string, unknown>>(name: NameIn<S>): Collection<T>;
  collection<T extends object>(name: string): Collection<T> {
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
    const settled = this.#session.fence(operationTime);
    this.#devtools?.fence(operationTime, settled);
    return settled;
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
    const events = {
      abandoned: () => this.#abandoned(key, result),
      moved: () => {
        this.#persistence?.moved(result);
        this.#devtools?.moved(result);
      },
      heard: (error: TidewireError) => this.#warnings.heard(error),
      unheard: (error: TidewireError) => this.#warnings.unheard(error, request.collection),
    };
    const id = `${++this.#count}`;
    const held = this.#heldOf(request);
    const result = new LiveResult(id, this.#scope + key, request, held, events, this.#codec);
    if (this.#lacksWebSocket) this.#warnings.noWebSocket();
    this.#results.set(key, result);
    this.#session.add(result);
    const initial = this.#initial.take(key);
    if (initial !== undefined) result.restore(initial);
    if (this.#persistence === undefined || initial !== undefined) this.#session.ready(result);
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
