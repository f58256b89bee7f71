/**
 * All clients of this node. The gateway registers connections, applies limits across them, and performs the operations
 * that concern all at once: an edit of the rules, a revoked token, the shutdown.
 */

import type { Server } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Identity } from "../auth/verify-token.ts";
import type { Account } from "../feed/account.ts";
import type { HistoryEntry } from "../feed/history.ts";
import { guarded, noteFault, runGuarded } from "../metrics/guard.ts";
import { amount } from "../protocol/amount.ts";
import { CLOSE_CODES } from "../protocol/close-codes.ts";
import type { RuleSet } from "../rules/compile-rules.ts";
import { ClientError } from "./connection/client-error.ts";
import type { Connection, ConnectionEvents } from "./connection/connection.ts";
import type { ConnectionClock, Tick } from "./connection/connection-clock.ts";
import { endSubscription } from "./connection/end-subscription.ts";
import { type OpenedConnection, openConnection } from "./connection/open-connection.ts";
import { reauthorizeAll } from "./connection/reauthorization.ts";
import type { ChangePoint } from "./connection/subscriptions.ts";
import { closeIfUntrusted } from "./connection/token-end.ts";
import type { Transport } from "./connection/transport.ts";
import type { GatewayContext } from "./context.ts";
import { Endpoints, type OptionalTransports } from "./endpoints.ts";
import type { HostedConnections } from "./hosted-connections.ts";
import type { Admission } from "./http/admission.ts";
import type { RequestHead } from "./http/request-head.ts";
import { SentBytes } from "./http/sent-bytes.ts";
import { NowSteps } from "./now-steps.ts";
import { planRules, type SubscriptionsPlan } from "./plan-rules.ts";
import type { RulesEdit, RulesEffect } from "./rules-edit.ts";
import type { SharedParts } from "./shared-parts.ts";
import { joinedWrites } from "./transports/joined-writes.ts";
import { type UserAccounts, unlimitedAccount } from "./user-accounts.ts";

/** How often deadlines are checked, in milliseconds; ten times per heartbeat if that is more often. */
const TICK_MS = 1_000;
/** After this time a client may try a full node again, in milliseconds. */
const RETRY_WHEN_FULL_MS = 5_000;

const NO_OPTIONAL_TRANSPORTS: OptionalTransports = { socketIo: null, Grpc: null };

/** All clients of this node: admits them, keeps their deadlines, and hands them over when the node shuts down. */
export class Gateway implements ConnectionEvents {
  readonly #context: GatewayContext;
  readonly #admission: Admission;
  readonly #hosted: HostedConnections;
  readonly #connections = new Map<Connection, ConnectionClock>();
  /** Answer the requests of clients. */
  readonly endpoints: Endpoints;
  readonly #tickMs: number;
  readonly #ticker: NodeJS.Timeout;
  readonly #sentBytes: SentBytes;
  readonly #nowSteps: NowSteps;
  readonly #accounts: UserAccounts;
  #draining = false;
  #tickedAtMs = Date.now();
  /** Aborted when the last client leaves while the node drains. */
  readonly #lastHasLeft = new AbortController();

  /** @param optional The parts that need packages of their own. */
  constructor(
    context: GatewayContext,
    { admission, accounts, callers, hosted }: SharedParts,
    optional: OptionalTransports = NO_OPTIONAL_TRANSPORTS,
  ) {
    this.#context = context;
    this.#admission = admission;
    this.#accounts = accounts;
    this.#hosted = hosted;
    const own = {
      open: this.#open.bind(this),
      callers,
      overLimit: (address: string) => this.#overLimit(address),
    };
    this.endpoints = new Endpoints(context, admission, own, optional);
    this.#tickMs = Math.min(TICK_MS, Math.max(10, context.server.heartbeatMs / 10));
    this.#sentBytes = new SentBytes(context, context.metrics.bytesSent);
    context.metrics.onScrape("bytesSent", () => this.#sentBytes.count());
    context.metrics.onScrape("outboxBytes", () => context.metrics.outboxBytes.set(this.#outboxBytes()));
    context.trust.onChange(() => this.closeUntrusted());
    this.#nowSteps = new NowSteps(context, () => this.#everyConnection());
    this.#nowSteps.schedule();
    const tick = guarded(context, "gateway.tick", () => this.#tick());
    this.#ticker = setInterval(tick, this.#tickMs).unref();
  }

  get connections(): number {
    return this.#connections.size;
  }

  get isDraining(): boolean {
    return this.#draining;
  }

  /** Counts the bytes that a listener sends. */
  countBytesOf(server: Server): void {
    this.#sentBytes.follow(server);
  }

  /** Counts and logs a request that was refused outside of the gateway. */
  noteRefusal(reason: string, request: RequestHead): void {
    const address = this.#admission.addressOf(request);
    this.#context.refusals.note(reason, { address, origin: request.headers.origin });
  }

  /** Writes everything that was held back to be written together. */
  flush(): void {
    joinedWrites.flush();
  }

  /**
   * Puts new rules in force, at one point of the order of commits for all clients. With many connections this pauses
   * now and then, and no commit is delivered meanwhile.
   * @returns `null` if the rules were not wanted any more.
   */
  async replaceRules(rules: RuleSet, edit: RulesEdit = {}): Promise<RulesEffect | null> {
    const { feed, ruleTimes } = this.#context;
    const { atOnce = () => {}, at = 0n, wasInterrupted, isWanted = () => true } = edit;
    let total: RulesEffect | null = null;
    await feed.exclusively((slices) => {
      if (!isWanted()) return undefined;
      const counted = { changed: 0, ended: 0 };
      total = counted;
      const head = feed.timeline.isReady ? feed.timeline.headTime : 0n;
      ruleTimes.replace(rules, head > at ? head : at, wasInterrupted);
      this.#switchTo(rules, atOnce);
      return slices.run(this.#reauthorizeEach(counted));
    });
    return total;
  }

  /**
   * Puts new rules in force at a commit that is being accepted. The times of the rules were set before. Each `yield`
   * offers a pause, and no commit is delivered meanwhile.
   * @param atOnce Called in the turn in which the rules take effect.
   */
  *replaceRulesAt(rules: RuleSet, entry: HistoryEntry, atOnce: () => void): Generator<void, RulesEffect> {
    const total = { changed: 0, ended: 0 };
    this.#switchTo(rules, atOnce);
    yield* this.#reauthorizeEach(total, entry);
    return total;
  }

  /**
   * Authorizes by other rules from here on. If a step fails, no connection may go on under the earlier rules, so all of
   * them end, and their clients come back under the new ones.
   */
  #switchTo(rules: RuleSet, atOnce: () => void): void {
    try {
      this.#context.rules = rules;
      this.#context.clock.setStep(rules.nowStepMs, Date.now());
      this.#nowSteps.schedule();
      atOnce();
    } catch (error) {
      const fault = noteFault(this.#context, "gateway.rules", error);
      for (const connection of [...this.#everyConnection()]) connection.fail(fault);
      throw error;
    }
  }

  *#reauthorizeEach(
    total: { changed: number; ended: number },
    at: ChangePoint = null,
  ): Generator<void, void> {
    for (const connection of this.#everyConnection()) {
      try {
        yield* reauthorizeAll(connection, total, at);
      } catch (error) {
        // It may still be under the earlier rules. The other connections must not be.
        total.ended += connection.subscriptions.size;
        connection.fail(noteFault(this.#context, "gateway.rules", error));
      }
      yield;
    }
    if (this.#context.presence !== null) yield* this.#context.presence.judgeAll(false);
  }

  /** Counts the effect that new rules would have on all connections, without putting them in force. See `planRules`. */
  planRules(rules: RuleSet, gone?: AbortSignal): Promise<SubscriptionsPlan> {
    const nowMs = this.#context.clock.at(rules.nowStepMs, Date.now());
    // A part of the node that rules do not judge has rules of its own.
    const judged = [...this.#everyConnection()].filter(
      ({ context: { rules: own } }) => (own.partOf ?? own) === this.#context.rules,
    );
    return planRules(judged, rules, nowMs, gone);
  }

  /** Everything to which rights apply. */
  *#everyConnection(): Generator<Connection, void> {
    yield* this.#connections.keys();
    yield* this.#hosted.keys();
  }

  /** The connections of clients, in the order in which they were made. */
  each(): IterableIterator<Connection> {
    return this.#connections.keys();
  }

  /** The connection with an id, if it has not ended. It is for admins, who are few, so that no index is kept. */
  connection(id: string): Connection | undefined {
    for (const connection of this.#connections.keys()) if (connection.id === id) return connection;
    return undefined;
  }

  /** Closes a connection because an admin wants it. The client may connect again. */
  disconnect(connection: Connection): void {
    const error = new ClientError(
      "unavailable",
      "an admin has closed this connection",
      CLOSE_CODES.disconnected,
    );
    connection.close(CLOSE_CODES.disconnected, "disconnected", error);
  }

  /** Authorizes all subscriptions of a connection again, between two commits. */
  async reauthorize(connection: Connection): Promise<RulesEffect> {
    const effect = { changed: 0, ended: 0 };
    await this.#context.feed.exclusively((slices) => slices.run(reauthorizeAll(connection, effect)));
    return effect;
  }

  /** Ends the connections whose token is no longer trusted. */
  closeUntrusted(): void {
    for (const connection of [...this.#everyConnection()]) {
      // An error with one client must not save the others, whose tokens are not trusted either.
      connection.guarded("gateway.trust", () => closeIfUntrusted(connection))();
    }
    runGuarded(this.#context, "gateway.trust", () => this.#context.presence?.endUntrusted());
  }

  /** Ends the subscriptions of a collection that can no longer be watched. */
  collectionDropped(namespace: string): void {
    for (const connection of this.#everyConnection()) {
      connection.guarded("gateway.collectionDropped", () => endThoseOf(connection, namespace))();
    }
  }

  /**
   * Drains the node: announces the shutdown, keeps delivering meanwhile, and at the end closes the connections that are
   * still open, one after another.
   */
  async drain(withinMs: number): Promise<void> {
    this.#draining = true;
    for (const connection of this.#connections.keys())
      connection.guarded("gateway.drain", () => connection.send({ type: "draining", withinMs }))();
    if (this.#connections.size > 0) {
      const { signal } = this.#lastHasLeft;
      await sleep(withinMs, undefined, { signal }).catch(() => {}); // it rejects when the last client has left
    }
    const text = "this node is shutting down: resume on another node";
    for (const connection of [...this.#connections.keys()]) {
      const error = new ClientError("unavailable", text, CLOSE_CODES.drained);
      connection.guarded("gateway.drain", () => connection.close(CLOSE_CODES.drained, "drained", error))();
      // One connection per turn, because the close frames and errors of thousands in one turn would block the process.
      await new Promise(setImmediate);
    }
  }

  stop(): void {
    clearInterval(this.#ticker);
    this.#nowSteps.stop();
    for (const connection of [...this.#everyConnection()])
      connection.guarded("gateway.stop", () => connection.terminate(CLOSE_CODES.serviceRestart))();
    this.endpoints.stop();
  }

  /** A client was authenticated. */
  onIdentified(connection: Connection, identity: Identity | null): Account {
    const { limits, refusals } = this.#context;
    const account = this.#accounts.of(identity, connection.address);
    // Users who cannot be distinguished are limited by `connectionsPerAddress` instead.
    const isOneUser = identity !== null && identity.subject !== null;
    if (isOneUser && account.outboxes.size >= limits.connectionsPerUser) {
      refusals.note("user-limit", { address: connection.address });
      throw tooMany("connectionsPerUser", limits.connectionsPerUser);
    }
    account.outboxes.add(connection.outbox);
    connection.outbox.share(account.outboxes, limits.userOutboxBytes);
    return account;
  }

  onClosed(connection: Connection): void {
    if (!this.#connections.delete(connection)) return;
    this.#admission.disconnected(connection.address);
    // A refreshed token names the same user, so the account is the one of the first token.
    if (connection.login.isWelcomed) connection.login.account.outboxes.delete(connection.outbox);
    this.#context.metrics.connections.set(this.#connections.size);
    if (this.#draining && this.#connections.size === 0) this.#lastHasLeft.abort();
  }

  #tick(): void {
    const nowMs = Date.now();
    const tick: Tick = { nowMs, readMs: this.#tickedAtMs, everyMs: this.#tickMs };
    this.#tickedAtMs = nowMs;
    this.#context.trust.tick(nowMs);
    for (const [connection, clock] of this.#connections) {
      try {
        clock.tick(tick);
      } catch (error) {
        // A clock that fails must not stop the deadlines of all other connections.
        connection.fail(noteFault(this.#context, "connection.tick", error));
      }
    }
    this.#accounts.sweep(nowMs);
    this.#hosted.sweep(nowMs);
    this.#context.refusals.flush(nowMs);
    this.#context.metrics.userAccounts.set(this.#accounts.size);
  }

  #outboxBytes(): number {
    let bytes = 0;
    for (const { outbox } of this.#connections.keys()) bytes += outbox.bufferedBytes;
    return bytes;
  }

  /** Makes a connection and counts it. A connection that exceeds a limit is closed at once, with the reason. */
  #open(transport: Transport, address: string, nowMs: number, context = this.#context): OpenedConnection {
    const opened = openConnection(context, transport, address, this, nowMs);
    const { connection } = opened;
    // Registered before the limits are checked, so that a refused connection is counted and removed like any other.
    this.#connections.set(connection, opened.clock);
    this.#admission.connected(address);
    this.#context.metrics.connections.set(this.#connections.size);
    const full = this.#overLimit(address);
    if (full !== null) connection.close(full.closeCode ?? CLOSE_CODES.nodeFull, "full", full);
    return opened;
  }

  /**
   * Opens a connection for a part of the node itself, with claims from the configuration. Everything that ends or
   * changes the rights of clients reaches it. It counts toward no limit of users and addresses.
   * @param context That of this gateway, or one that begins with it.
   */
  openInside(transport: Transport, name: string, context: GatewayContext, nowMs: number): OpenedConnection {
    const events: ConnectionEvents = {
      onIdentified: unlimitedAccount,
      onClosed: (connection) => this.onClosed(connection),
    };
    const opened = openConnection(context, transport, name, events, nowMs);
    this.#connections.set(opened.connection, opened.clock);
    this.#admission.connected(name);
    this.#context.metrics.connections.set(this.#connections.size);
    return opened;
  }

  /** The limit that the connection just registered has exceeded; `null` if none. */
  #overLimit(address: string): ClientError | null {
    if (this.#draining) {
      return new ClientError("unavailable", "this node is shutting down", CLOSE_CODES.drained, {
        retryAfterMs: RETRY_WHEN_FULL_MS,
      });
    }
    if (this.#admission.isOverFull()) {
      this.#context.refusals.note("node-full", { address });
      return new ClientError("unavailable", "this node is full: try another", CLOSE_CODES.nodeFull, {
        retryAfterMs: RETRY_WHEN_FULL_MS,
      });
    }
    if (!this.#admission.addressIsOverFull(address)) return null;
    this.#context.refusals.note("address-limit", { address });
    return tooMany("connectionsPerAddress", this.#context.limits.connectionsPerAddress);
  }
}

function endThoseOf(connection: Connection, namespace: string): void {
  for (const subscription of connection.subscriptions) {
    const { query } = subscription.attachment;
    if (`${query.database}.${query.collectionName}` === namespace)
      endSubscription(connection, subscription, "collection-dropped");
  }
}

const tooMany = (limit: string, value: number) =>
  new ClientError(
    "too-many-requests",
    `more than ${amount(value, "connection")} (limits.${limit})`,
    CLOSE_CODES.tooManyConnections,
    { details: { limit, value }, retryAfterMs: RETRY_WHEN_FULL_MS },
  );
