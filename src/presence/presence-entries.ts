/**
 * The entries of the clients of this node: who may be where, and for how long. An entry is written when a client enters,
 * changes its data or leaves, and at no other time. A client that reconnects within the ttl finds its entry here, in memory,
 * or in the database, where another node has written it; this node then claims it (`node-lease.ts`).
 */
import { hasSeveralIssuers } from "../auth/options.ts";
import type { Identity } from "../auth/verify-token.ts";
import type { Feed } from "../feed/feed.ts";
import { HeldLookups } from "../gateway/connection/held-lookups.ts";
import type { GatewayContext } from "../gateway/context.ts";
import type { EntryName, Presence, PresenceMember } from "../gateway/presence.ts";
import { type GuardParts, runGuarded } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { EnterMessage, LeftReason } from "../protocol/messages.ts";
import { isMongoFailure } from "../source/mongo.ts";
import { EntryCounts } from "./entry-counts.ts";
import { entryIdOf } from "./entry-id.ts";
import { EntryRights } from "./entry-rights.ts";
import type { EntrySaver } from "./entry-saver.ts";
import { HeldEntry } from "./held-entry.ts";
import type { PresenceOptions } from "./options.ts";

/** After the ttl an entry stays this long, in milliseconds, in which another node can claim it. */
const CLAIM_MS = 500;
/** When a client may try again while the node has no room for more entries, in milliseconds. */
const FULL_RETRY_MS = 5_000;

/** The parts that entries work with. */
export interface PresenceParts extends GuardParts {
  readonly context: GatewayContext;
  readonly feed: Feed;
  readonly saver: EntrySaver;
  readonly metrics: Metrics;
  /** MongoDB's clock, in epoch milliseconds. */
  readonly serverNowMs: () => number;
}

/** Every entry of this node. */
export class PresenceEntries implements Presence {
  readonly ttlMs: number;
  readonly #entriesMax: number;
  readonly #parts: PresenceParts;
  readonly #rights: EntryRights;
  readonly #showsIssuers: boolean;
  readonly #byId = new Map<string, HeldEntry>();
  /** The entries without a connection, in the order in which their connections ended. */
  readonly #gone = new Set<HeldEntry>();
  readonly #byMember = new WeakMap<PresenceMember, Map<string, HeldEntry>>();
  readonly #counts = new EntryCounts();

  constructor({ ttlMs, entries }: Pick<PresenceOptions, "ttlMs" | "entries">, parts: PresenceParts) {
    this.ttlMs = ttlMs;
    this.#entriesMax = entries;
    this.#parts = parts;
    this.#showsIssuers = hasSeveralIssuers(parts.context.auth.jwt);
    this.#rights = new EntryRights(parts.context, (entry) => this.#withdraw(entry));
  }

  /** The entries on this node, by id. */
  get held(): ReadonlyMap<string, HeldEntry> {
    return this.#byId;
  }

  has(member: PresenceMember, id: string): boolean {
    return this.#byMember.get(member)?.has(id) ?? false;
  }

  async enter(member: PresenceMember, message: EnterMessage): Promise<void> {
    const { id } = message;
    const own = this.#entriesOf(member);
    const known = own.get(id);
    const entry = this.#entryFor(member, message, known);
    if (known === undefined) this.#join(entry, member, own, id);
    try {
      await this.#save(entry, member, message);
    } catch (error) {
      // The `left` of an entry that ended meanwhile has answered.
      if (entry.isOver && !entry.isRefused) return;
      if (known === undefined && !entry.isOver) this.#part(entry, member, own, id, error);
      throw isMongoFailure(error) ? unavailable(error) : error;
    }
    if (own.get(id) === entry) member.send({ type: "entered", id });
  }

  async leave(member: PresenceMember, id: string): Promise<void> {
    const entry = this.#byMember.get(member)?.get(id);
    if (entry === undefined) throw new TidewireError("unknown-id", "no entry of this connection has this id");
    await this.#end(entry, "requested");
  }

  async enterOnce(identity: Identity | null, request: Omit<EnterMessage, "type" | "id">): Promise<void> {
    const member: PresenceMember = { identity, isClosed: false, login: { account: null }, send: () => {} };
    try {
      await this.enter(member, { type: "enter", id: "1", ...request });
    } finally {
      this.ended(member, false);
    }
  }

  async leaveOnce(identity: Identity | null, { room, tab }: EntryName): Promise<void> {
    const { subject } = userOf(identity);
    const id = entryIdOf(subject, tab, room);
    const entry = this.#byId.get(id);
    if (entry !== undefined) await this.#end(entry, "requested");
    else await this.#parts.saver.delete(id);
  }

  ended(member: PresenceMember, isUntrusted: boolean): void {
    const own = this.#byMember.get(member);
    if (own === undefined) return;
    this.#byMember.delete(member);
    for (const entry of own.values()) {
      entry.members.delete(member);
      if (entry.members.size > 0) continue;
      if (isUntrusted) this.#withdraw(entry);
      else this.#noteGone(entry);
    }
  }

  identityChanged(member: PresenceMember): void {
    const { identity } = member;
    if (identity === null) return;
    for (const entry of [...(this.#byMember.get(member)?.values() ?? [])]) {
      entry.identity = identity;
      this.#rights.judgeAgain(entry);
    }
  }

  *judgeAll(usingNow: boolean): Generator<void, void> {
    for (const entry of this.#byId.values()) {
      if (usingNow && !entry.usesNow) continue;
      this.#rights.judgeAgain(entry);
      yield;
    }
  }

  endUntrusted(): void {
    const { trust } = this.#parts.context;
    const isTrusted = (identity: Identity) => trust.endOf(identity)?.code !== "unauthenticated";
    for (const entry of [...this.#byId.values()]) {
      if (isTrusted(entry.identity)) continue;
      const others = [...entry.members.keys()].flatMap(({ identity }) => identity ?? []);
      const other = others.find(isTrusted);
      if (other === undefined) this.#withdraw(entry);
      else entry.identity = other;
    }
  }

  /** Ends the entries whose connections ended longer ago than the ttl. To be called several times a second. */
  sweep(nowMs: number): void {
    this.#parts.metrics.presenceEntries.set(this.#byId.size);
    for (const entry of this.#gone) {
      if (entry.goneAtMs === null || nowMs - entry.goneAtMs < this.ttlMs + CLAIM_MS) return;
      this.#remove(entry);
      this.#parts.metrics.presenceLeft.inc({ reason: "expired" });
      this.#parts.saver.depart(entry.facts.id);
    }
  }

  /** MongoDB did not answer for a while, and clients could not reconnect: their time begins again. */
  restartTtl(nowMs: number): void {
    for (const entry of this.#gone) entry.goneAtMs = nowMs;
  }

  /** The entry does not exist any more. Its clients are asked to enter again. */
  lost(entry: HeldEntry): void {
    const members = this.#remove(entry);
    this.#parts.metrics.presenceLeft.inc({ reason: "lost" });
    this.#parts.saver.forget(entry.facts.id);
    send(members, "lost");
  }

  #entriesOf(member: PresenceMember): Map<string, HeldEntry> {
    let own = this.#byMember.get(member);
    if (own === undefined) {
      own = new Map();
      this.#byMember.set(member, own);
    }
    return own;
  }

  /**
   * The entry that a message names: that of its id, one on this node, or a new one that is being opened.
   * @throws {TidewireError} `unauthenticated`, `duplicate-id`, `unavailable`
   */
  #entryFor(
    member: PresenceMember,
    { room, tab, data }: EnterMessage,
    known: HeldEntry | undefined,
  ): HeldEntry {
    const { identity, subject, sub, iss } = userOf(member.identity);
    const id = entryIdOf(subject, tab, room);
    const present = this.#byId.get(id);
    if (known !== undefined && known.facts.id !== id)
      throw new TidewireError(
        "duplicate-id",
        "the id is that of another entry of this connection: choose another",
      );
    if (present !== undefined) {
      const other = present.members.get(member);
      if (known === undefined && other !== undefined)
        throw new TidewireError("duplicate-id", "this connection has entered the room under another id");
      if (known === undefined) this.#reopen(present);
      return present;
    }
    if (this.#byId.size >= this.#entriesMax) throw full(this.#entriesMax);
    const owner = { user: subject, tab };
    const since = new Date(this.#parts.serverNowMs());
    const rights = this.#rights.ownerOf(() => entry);
    const entry: HeldEntry = new HeldEntry(
      { id, room, user: sub, iss: this.#showsIssuers ? iss : null, owner, since },
      identity,
      JSON.stringify(data ?? null),
      new HeldLookups(this.#parts.feed, rights, member.login.account),
    );
    this.#byId.set(id, entry);
    this.#counts.add(owner, 1);
    entry.opened = this.#open(entry);
    entry.opened.catch(() => {}); // every client that waits for it receives the error
    return entry;
  }

  #join(entry: HeldEntry, member: PresenceMember, own: Map<string, HeldEntry>, id: string): void {
    own.set(id, entry);
    entry.members.set(member, id);
    entry.goneAtMs = null;
    this.#gone.delete(entry);
  }

  /** A connection that was refused does not keep the entry. Without the right, nobody does. */
  #part(
    entry: HeldEntry,
    member: PresenceMember,
    own: Map<string, HeldEntry>,
    id: string,
    error: unknown,
  ): void {
    own.delete(id);
    entry.members.delete(member);
    if (entry.members.size > 0) return;
    if (error instanceof TidewireError && error.code === "forbidden") this.#withdraw(entry);
    else this.#noteGone(entry);
  }

  /**
   * Judges a new entry, and writes it unless it is there already.
   * @throws {TidewireError} The entry is refused.
   */
  async #open(entry: HeldEntry): Promise<void> {
    try {
      const { allow } = await this.#rights.admit(entry, entry.identity, entry.dataText);
      checkData(entry.dataText, allow.dataBytes);
      this.#checkRooms(entry, allow.rooms);
      await this.#parts.saver.open(entry);
    } catch (error) {
      if (!entry.isOver) {
        entry.isRefused = true;
        this.#remove(entry);
      }
      throw error;
    }
  }

  /** The client of an entry has come back. It may have been on another node meanwhile. */
  #reopen(entry: HeldEntry): void {
    const before = entry.opened.catch((error: unknown) => {
      // A check that has failed is made again. A refusal stays one.
      if (entry.isOver) throw error;
    });
    entry.opened = before.then(() => this.#parts.saver.reopen(entry));
    entry.opened.catch(() => {}); // every client that waits for it receives the error
  }

  /** @throws {TidewireError} `too-many-subscriptions` */
  #checkRooms(entry: HeldEntry, rooms: number): void {
    const { owner } = entry.facts;
    const { connectionsPerUser } = this.#parts.context.limits;
    if (this.#counts.ofTab(owner) > rooms) throw tooManyRooms(rooms);
    for (const member of entry.members.keys())
      if (this.#entriesOf(member).size > rooms) throw tooManyRooms(rooms);
    // A client that reconnects again and again with other tabs leaves entries behind, each for the ttl.
    if (this.#counts.ofUser(owner) > rooms * connectionsPerUser) throw tooManyRooms(rooms);
  }

  /**
   * Takes the data of a message into an entry that is there.
   * @throws {TidewireError} The message is refused.
   */
  async #save(entry: HeldEntry, member: PresenceMember, { data }: EnterMessage): Promise<void> {
    await entry.opened;
    const { identity } = userOf(member.identity);
    const dataText = JSON.stringify(data ?? null);
    const { allow } = await this.#rights.admit(entry, identity, dataText);
    // The sets of the entry are those of this token now.
    entry.identity = identity;
    checkData(dataText, allow.dataBytes);
    if (entry.isOver) throw withdrawn();
    if (dataText === entry.dataText && !entry.isUnsaved) return;
    entry.dataText = dataText;
    await this.#parts.saver.put(entry);
  }

  #noteGone(entry: HeldEntry): void {
    if (entry.isOver) return;
    entry.goneAtMs = performance.now();
    this.#gone.add(entry);
  }

  /** The right to the entry has ended. Nobody waits for the deletion. */
  #withdraw(entry: HeldEntry): void {
    runGuarded(this.#parts, "presence.withdraw", () => this.#end(entry, "forbidden"));
  }

  /** Ends an entry for everybody, at once. Rejects for no reason but a bug. */
  async #end(entry: HeldEntry, reason: LeftReason): Promise<void> {
    if (entry.isOver) return;
    const members = this.#remove(entry);
    this.#parts.metrics.presenceLeft.inc({ reason });
    await this.#parts.saver.delete(entry.facts.id);
    send(members, reason);
  }

  /** @returns The connections that kept it, with their ids. */
  #remove(entry: HeldEntry): readonly (readonly [PresenceMember, string])[] {
    entry.end();
    this.#byId.delete(entry.facts.id);
    this.#gone.delete(entry);
    this.#counts.add(entry.facts.owner, -1);
    const members = [...entry.members];
    for (const [member, id] of members) this.#byMember.get(member)?.delete(id);
    entry.members.clear();
    return members;
  }
}

function send(members: readonly (readonly [PresenceMember, string])[], reason: LeftReason): void {
  for (const [member, id] of members) if (!member.isClosed) member.send({ type: "left", id, reason });
}

/** @throws {TidewireError} `unauthenticated` for a client that is no particular user. */
function userOf(identity: Identity | null) {
  if (identity === null || identity.subject === null || identity.sub === null)
    throw new TidewireError("unauthenticated", "only a user with a token that has a sub may enter", {
      reason: "missing",
    });
  const { subject, sub, claims } = identity;
  const iss = typeof claims["iss"] === "string" ? claims["iss"] : null;
  return { identity, subject, sub, iss };
}

/** @throws {TidewireError} `bad-request` */
function checkData(dataText: string, value: number): void {
  if (dataText === "null" || Buffer.byteLength(dataText) <= value) return;
  throw new TidewireError("bad-request", `data has at most ${value} bytes as JSON here`, {
    limit: "dataBytes",
    value,
  });
}

const tooManyRooms = (value: number) =>
  new TidewireError("too-many-subscriptions", `a client may be in at most ${value} rooms at a time`, {
    limit: "rooms",
    value,
  });

const full = (value: number) =>
  new TidewireError(
    "unavailable",
    "this node has no room for more entries: try again later",
    { limit: "entries", value },
    { retryAfterMs: FULL_RETRY_MS },
  );

const withdrawn = () => new TidewireError("forbidden", "no rule allows this entry");

const unavailable = (cause: Error) =>
  new TidewireError("unavailable", "MongoDB does not answer: try again later", {}, { cause });
