/** A client that believes nothing: it applies what comes by the letter of the protocol, and says what was not allowed. */
import type { Position } from "../../src/feed/cursor.ts";
import type {
  AggregateRequest,
  ErrorMessage,
  ServerMessage,
  SubscribedMessage,
  ValueMode,
} from "../../src/protocol/messages.ts";
import { HeldQuery, ProtocolFault } from "./held-query.ts";
import type { Result } from "./oracle.ts";
import { type Received, WsClient } from "./ws-client.ts";

export interface ModelRequest {
  readonly collection: string;
  readonly filter?: object;
  readonly fields?: readonly string[];
  readonly snapshot?: boolean;
  readonly documents?: "full" | "delta";
  readonly sort?: readonly (readonly [string, 1 | -1])[];
  readonly limit?: number;
  readonly aggregate?: AggregateRequest;
}

export interface ModelOptions {
  readonly token: string;
  readonly values?: ValueMode;
  readonly decode: (cursor: string) => Position;
  /** The result at the first cursor of a query without a snapshot. Without this function, such a query is not checked. */
  readonly baseOf?: (request: ModelRequest, cursor: string, mode: ValueMode) => Promise<Result | null>;
  /** A query has a result for the first time, or again. */
  readonly onHeld?: (held: HeldQuery, id: string) => void;
  /** The documents are now those of the query's cursor. */
  readonly onPoint?: (held: HeldQuery, id: string, by: ServerMessage["type"]) => void;
}

/** One id of an application; it outlives connections. */
export interface ModelSubscription {
  readonly id: string;
  readonly request: ModelRequest;
  held: HeldQuery | undefined;
}

/** Kinds of starts and reasons of resets, counted. */
export type Starts = Record<string, number>;

export class ModelClient {
  readonly client: WsClient;
  readonly subscriptions = new Map<string, ModelSubscription>();
  readonly faults: string[] = [];
  readonly starts: Starts = {};
  readonly #options: ModelOptions;
  readonly #mode: ValueMode;
  readonly #queries = new Map<number, { held: HeldQuery; ids: Set<string> }>();
  readonly #asked = new Map<
    string,
    { subscription: ModelSubscription; answered: (answer: Received) => void }
  >();
  /** Settle when the connection has ended, and when the node has said that it goes away. */
  readonly ended: Promise<undefined>;
  readonly draining: Promise<void>;
  isDraining = false;
  drainsWithinMs = 0;
  watermarks = 0;
  #onDraining = () => {};

  private constructor(client: WsClient, options: ModelOptions) {
    this.client = client;
    this.#options = options;
    this.#mode = options.values ?? "json";
    this.ended = new Promise((resolve) => client.socket.once("close", () => resolve(undefined)));
    this.draining = new Promise((resolve) => {
      this.#onDraining = resolve;
    });
    // Messages that arrived together with `welcome` are queued already.
    for (const message of client.received) this.#receive(message);
    client.onMessage = (message) => this.#receive(message);
  }

  /** @returns `undefined` where no connection came about. */
  static async connect(url: string, options: ModelOptions): Promise<ModelClient | undefined> {
    const { token, values = "json" } = options;
    const client = await WsClient.connect(url, { token, values }).catch(() => undefined);
    return client === undefined || client.closed !== undefined ? undefined : new ModelClient(client, options);
  }

  get closed(): WsClient["closed"] {
    return this.client.closed;
  }

  /** Subscribes, or resumes what an earlier connection held. @returns `undefined` where the connection ended first. */
  async subscribe(
    id: string,
    request: ModelRequest,
    held?: HeldQuery,
  ): Promise<SubscribedMessage | ErrorMessage | undefined> {
    const resumable = held !== undefined && held.phase === "following" ? held : undefined;
    const subscription: ModelSubscription = { id, request, held: resumable };
    const answer = new Promise<Received>((answered) => this.#asked.set(id, { subscription, answered }));
    const place = resumable === undefined ? {} : { cursor: resumable.cursor, ticket: resumable.ticket };
    this.client.send({ type: "subscribe", id, ...request, ...place });
    const first = await Promise.race([answer, this.ended]);
    return first as SubscribedMessage | ErrorMessage | undefined; // only these two answer a subscribe
  }

  /** Everything that the service decided before this is here when it settles. @returns Whether it still stands. */
  async sync(): Promise<boolean> {
    const from = this.client.received.length;
    this.client.send({ type: "ping", nonce: "sync" });
    return (
      (await this.client.until(({ type }) => type === "pong", from).catch(() => undefined)) !== undefined
    );
  }

  async unsubscribe(id: string): Promise<void> {
    await this.client.ask({ type: "unsubscribe", id });
  }

  /** Ends the connection without a word; what it held can be resumed by another one. */
  drop(): ModelSubscription[] {
    this.client.socket.terminate();
    return this.release();
  }

  /** The connection's results after its end. Later messages have no effect. */
  release(): ModelSubscription[] {
    this.client.onMessage = () => {};
    const subscriptions = [...this.subscriptions.values()];
    for (const { held } of subscriptions) held?.disconnected();
    this.subscriptions.clear();
    this.#queries.clear();
    return subscriptions;
  }

  #receive(message: Received): void {
    // A long run must not keep every message.
    if (this.client.received.length > 2_000) this.client.received.splice(0, 1_000);
    try {
      this.#take(message);
    } catch (error) {
      // Thrown on, anything would end the socket's reading for good, and the test would hang.
      const text = error instanceof ProtocolFault ? error.message : String(error);
      this.faults.push(`${text}, by ${JSON.stringify(message).slice(0, 300)}`);
    }
  }

  #take(message: Received): void {
    switch (message.type) {
      case "subscribed":
        this.#takeSubscribed(message);
        return;
      case "snapshot":
      case "added":
      case "changed":
      case "removed":
      case "reset":
        this.#takeOfQuery(message);
        return;
      case "watermark":
        this.watermarks++;
        for (const { held, ids } of this.#queries.values()) {
          held.take(message);
          this.#point(held, ids, "watermark");
        }
        return;
      case "unsubscribed":
        this.#takeUnsubscribed(message.id);
        return;
      case "error":
        if (message.id !== undefined) this.#answer(message.id, message);
        return;
      case "draining":
        this.isDraining = true;
        this.drainsWithinMs = message.withinMs;
        this.#onDraining();
        return;
      default:
        return;
    }
  }

  #takeSubscribed(message: Received & SubscribedMessage): void {
    const { id, query, start, cursor, ticket } = message;
    const asked = this.#asked.get(id);
    if (asked === undefined) {
      this.#takeMoved(message);
      return;
    }
    this.starts[message.reason ?? start] = (this.starts[message.reason ?? start] ?? 0) + 1;
    const known = this.#queries.get(query);
    const { subscription } = asked;
    const held = this.#heldFor(subscription, message, known?.held);
    held.ticket = ticket;
    subscription.held = held;
    this.subscriptions.set(id, subscription);
    if (known === undefined) this.#queries.set(query, { held, ids: new Set([id]) });
    else known.ids.add(id);
    if (start === "snapshot" || (start === "reset" && subscription.request.snapshot !== false)) {
      // Rights that change while it is being made lead to a reset at once, whose snapshot is still to be read.
      held.expectSnapshot(start === "snapshot" ? cursor : undefined);
    } else if (start === "resumed" && cursor !== held.cursor) {
      // The time that the rule depends on has moved on: what was missed comes as one difference.
      held.expectDifference(cursor);
    } else if (start === "live" || start === "reset") {
      const base = this.#options.baseOf?.(subscription.request, cursor, this.#mode);
      held.expectBase(cursor, base ?? Promise.resolve(null));
    }
    this.#answer(id, message);
  }

  /** [3.2, subscribed] It comes again for a living id when its rights have changed. */
  #takeMoved({ id, query, start, reason, from, cursor, ticket }: SubscribedMessage): void {
    const subscription = this.subscriptions.get(id);
    if (subscription === undefined) throw new ProtocolFault(`subscribed without having asked: ${id}`);
    this.starts[reason ?? start] = (this.starts[reason ?? start] ?? 0) + 1;
    const before = subscription.held;
    const others = [...this.#queries].filter(([, { held, ids }]) => held === before && ids.delete(id));
    for (const [number, { ids }] of others) if (ids.size === 0) this.#queries.delete(number);
    const isShared = others.some(([, { ids }]) => ids.size > 0);
    const known = this.#queries.get(query);
    if (start === "shared" ? known === undefined : known !== undefined)
      throw new ProtocolFault(`${start} is not how ${id} can go on`);
    if (start === "moved" && !others.some(([number]) => number === from))
      throw new ProtocolFault(`moved from ${from}, which is not what ${id} holds`);
    const held = known?.held ?? this.#heldAfter(subscription, start, isShared);
    held.ticket = ticket;
    subscription.held = held;
    if (known === undefined) this.#queries.set(query, { held, ids: new Set([id]) });
    else known.ids.add(id);
    if (start === "moved") held.expectDifference(cursor);
    else if (start === "reset" && subscription.request.snapshot !== false) held.expectSnapshot();
    else if (start === "reset") held.expectBase(cursor, Promise.resolve(null));
  }

  /** A result that continues under another number. Other ids may still share it, and are moved right after. */
  #heldAfter(
    subscription: ModelSubscription,
    start: SubscribedMessage["start"],
    isShared: boolean,
  ): HeldQuery {
    const { held } = subscription;
    if (held !== undefined && !isShared) return held;
    const other = this.#newHeld(subscription);
    if (held !== undefined && start === "moved") other.takeOver(held);
    return other;
  }

  #newHeld({ id, request }: ModelSubscription): HeldQuery {
    const held = new HeldQuery(this.#mode, this.#options.decode, request.sort !== undefined);
    this.#options.onHeld?.(held, id);
    return held;
  }

  /** Which state the subscription goes on with. */
  #heldFor(
    subscription: ModelSubscription,
    { start }: SubscribedMessage,
    known: HeldQuery | undefined,
  ): HeldQuery {
    if (start === "shared") {
      if (known === undefined) throw new ProtocolFault("shared, but nobody has it");
      return known;
    }
    if (start === "resumed") {
      if (subscription.held === undefined) throw new ProtocolFault("resumed without a cursor");
      return subscription.held;
    }
    // Only a snapshot may replace what another id holds already.
    if (known !== undefined && start !== "snapshot")
      throw new ProtocolFault(`${start}, but an id of this connection has it`);
    const present = known ?? subscription.held;
    if (present !== undefined) return present;
    return this.#newHeld(subscription);
  }

  #takeOfQuery(message: Received & { query: number }): void {
    const known = this.#queries.get(message.query);
    if (known === undefined) throw new ProtocolFault(`${message.type} of a query that nobody has`);
    const { held, ids } = known;
    if (message.type === "reset") {
      const reason = `reset, ${message.reason}`;
      this.starts[reason] = (this.starts[reason] ?? 0) + 1;
      held.ticket = message.ticket;
      const wantsSnapshot = [...ids].some((id) => this.subscriptions.get(id)?.request.snapshot !== false);
      if (wantsSnapshot) held.expectSnapshot();
      else held.expectBase("", Promise.resolve(null));
      return;
    }
    held.take(message);
    if (!held.isInTransaction) this.#point(held, ids, message.type);
  }

  #takeUnsubscribed(id: string): void {
    this.subscriptions.delete(id);
    for (const [query, { ids }] of this.#queries) {
      ids.delete(id);
      if (ids.size === 0) this.#queries.delete(query);
    }
  }

  #point(held: HeldQuery, ids: ReadonlySet<string>, by: ServerMessage["type"]): void {
    const [id] = ids;
    if (held.phase === "following" && id !== undefined) this.#options.onPoint?.(held, id, by);
  }

  #answer(id: string, message: Received): void {
    this.#asked.get(id)?.answered(message);
    this.#asked.delete(id);
  }
}
