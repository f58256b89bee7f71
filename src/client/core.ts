/**
 * The core of the client: exact live queries over a WebSocket. Features that few pages need are parts, which a page imports
 * and gives to `createClient`. `client.ts` is the core with all parts.
 */
import type { ValueMode } from "../protocol/messages.ts";
import { checkOptions } from "./check-options.ts";
import type { Companion } from "./companion.ts";
import type { OperationTime } from "./fences.ts";
import { copyFilter } from "./filter.ts";
import type { HeldWindows } from "./held-windows.ts";
import type { InitialResults } from "./initial.ts";
import type { Inspector } from "./inspector.ts";
import { type LiveRequest, LiveResult, type LiveResultEvents, UNUSED } from "./live-result.ts";
import { lacksPart, type Part } from "./part.ts";
import type { Persistence } from "./persistence.ts";
import { type FindOptions, Query, type QueryHost } from "./query.ts";
import type { ReconnectOptions } from "./reconnect.ts";
import type { Doc } from "./result-set.ts";
import { Session } from "./session.ts";
import type { ConnectionState } from "./session-options.ts";
import type { TokenProvider } from "./tokens.ts";
import type { Trace } from "./trace.ts";
import type { WebSocketConstructor } from "./transport.ts";
import type { TransportChoice } from "./transport-choice.ts";
import type { Filter, QueryState } from "./types.ts";
import type { ValueCodec } from "./value-codec.ts";
import type { Warnings } from "./warnings.ts";

export { TidewireError } from "../protocol/errors.ts";
export type { Avg, Count, GroupId, GroupValues, Max, Min, Row, Sum } from "./aggregates.ts";
export { avg, count, max, min, sum } from "./aggregates.ts";
export type { OperationTime } from "./fences.ts";
export type { Part } from "./part.ts";
export type { FindOptions, Query } from "./query.ts";
export type { ReconnectOptions } from "./reconnect.ts";
export type { ConnectionState } from "./session-options.ts";
export type { Status } from "./status.ts";
export type { TokenProvider } from "./tokens.ts";
export type { WebSocketConstructor, WebSocketLike } from "./transport.ts";
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

/** How a client reaches its service. */
export interface CoreOptions {
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
  /** A WebSocket class for runtimes without one (Node before 22), for example that of the package `ws`. */
  readonly WebSocket?: WebSocketConstructor;
  /** Replaces the service's advice about reconnecting. */
  readonly reconnect?: ReconnectOptions;
  /** How long making a connection may take, in milliseconds. Default: 15000. */
  readonly connectTimeoutMs?: number;
  /** How much longer than its heartbeat the service may be silent, in milliseconds. Default: 10000. */
  readonly silenceMs?: number;
  /** How long a query without followers is kept for the next one, in milliseconds. Default: 1000. */
  readonly lingerMs?: number;
  readonly random?: () => number;
  /** Features that the client has besides its core, such as `fences` of `tidewire/client/fences`. */
  readonly parts?: readonly Part[];
  /** Shows what the client does: `createDevtools()` of `tidewire/devtools`. */
  readonly devtools?: Inspector | undefined;
}

/**
 * Makes a client. It connects when a query is followed, not before.
 * @throws {TypeError} An option is missing or malformed.
 */
export function createClient<S extends object = Untyped>(options: CoreOptions): Client<S> {
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
    const { extended } = this.#host.parts;
    // The copy of an object is an object.
    const copy = filter !== undefined && {
      filter: copyFilter(filter, "filter", extended) as Record<string, unknown>,
    };
    return new Query(this.#host, { collection: this.#name, ...copy, ...options });
  }
}

/**
 * One user's access to a service: one connection for all queries. `S` has the type of the documents of each collection, as
 * `tidewire types` writes it.
 */
export class Client<S extends object = Untyped> {
  readonly #session: Session;
  readonly #lingerMs: number;
  readonly #results = new Map<string, LiveResult>();
  readonly #lingering = new Map<LiveResult, ReturnType<typeof setTimeout>>();
  readonly #host: QueryHost;
  readonly #parts: {
    readonly choice: TransportChoice | undefined;
    readonly growth: HeldWindows | undefined;
    readonly initial: InitialResults | undefined;
    readonly persistence: Persistence | undefined;
    readonly warnings: Warnings | undefined;
  };
  readonly #devtools: Inspector | undefined;
  readonly #codec: ValueCodec | undefined;
  #count = 0;
  readonly #events: LiveResultEvents = {
    abandoned: (result) => this.#abandoned(result),
    moved: (result) => {
      this.#parts.persistence?.moved(result);
      this.#devtools?.moved(result);
    },
    failed: ({ request }, error, isHeard) => {
      if (isHeard) this.#parts.warnings?.heard(error);
      else this.#parts.warnings?.unheard(error, request.collection);
    },
  };

  /** @internal */
  constructor(options: CoreOptions, trace: Trace | undefined = options.devtools) {
    const url = checkOptions(options);
    const {
      connectTimeoutMs = 15_000,
      silenceMs = 10_000,
      lingerMs = 1_000,
      random = () => Math.random(),
      values: encoding = "json",
      WebSocket = (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket, // Node 20 has none
    } = options;
    const [values, codec] = typeof encoding === "string" ? [encoding] : [encoding.mode, encoding];
    const parts: Part = Object.assign({}, ...(options.parts ?? []));
    const choice = parts.fallback?.(WebSocket !== undefined);
    if (!choice && !WebSocket) throw lacksPart("fallback", "a client without `WebSocket`");
    this.#parts = {
      choice,
      growth: parts.growth?.(),
      initial: parts.initial?.(values, codec),
      persistence: parts.persistence?.(`${url} ${values} `),
      warnings: parts.warnings?.(url),
    };
    this.#devtools = options.devtools;
    this.#codec = codec;
    this.#lingerMs = lingerMs;
    this.#session = new Session({
      ...options,
      ...this.#parts,
      connectTimeoutMs,
      silenceMs,
      random,
      fences: parts.fences?.(),
      values,
      url,
      WebSocket,
      trace,
    });
    this.#host = {
      stateOf: (key, request) =>
        this.#results.get(key)?.state ?? this.#parts.initial?.unusedStateOf(key) ?? this.#heldOf(request),
      results: this.#results,
      initial: this.#parts.initial,
      acquire: (key, request) => this.#acquire(key, request),
      client: this,
      parts,
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
    const { listeners } = this.#session;
    listeners.add(listener);
    listener(this.state);
    return () => listeners.delete(listener);
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
    this.#parts.persistence?.flush();
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
    return this.#parts.growth?.stateOf(request, this.#results.values()) ?? UNUSED;
  }

  #acquire(key: string, request: LiveRequest): LiveResult {
    const known = this.#results.get(key);
    if (known) {
      clearTimeout(this.#lingering.get(known));
      this.#lingering.delete(known);
      return known;
    }
    const id = `${++this.#count}`;
    const held = this.#heldOf(request);
    const result = new LiveResult(id, key, request, held, this.#events, this.#codec);
    if (this.#parts.choice?.lacksWebSocket) this.#parts.warnings?.noWebSocket();
    this.#results.set(key, result);
    this.#session.add(result);
    const { initial, persistence } = this.#parts;
    const saved = initial?.take(key);
    if (saved) result.restore(saved);
    if (saved || !persistence) this.#session.ready(result);
    else void this.#restore(result, persistence);
    return result;
  }

  async #restore(result: LiveResult, persistence: Persistence): Promise<void> {
    const saved = await persistence.load(result);
    if (saved && result.isUsed) result.restore(saved);
    this.#session.ready(result);
  }

  /** Keeps the result for a moment, because an application that leaves a query often follows it again at once. */
  #abandoned(result: LiveResult): void {
    const { key } = result;
    const end = () => {
      this.#lingering.delete(result);
      if (this.#results.get(key) === result) this.#results.delete(key);
      this.#session.remove(result);
    };
    if (result.state.status === "stopped") end();
    else this.#lingering.set(result, setTimeout(end, this.#lingerMs));
  }
}
