import type { Client } from "../client.ts";
import type { TokenProvider } from "../tokens.ts";
import type { WebSocketLike } from "../transport.ts";
import { type Channel, type Meeting, newName, type TabMessage } from "./channel.ts";
import { HeldLock } from "./held-lock.ts";
import { Leader, LOST } from "./leader.ts";
import { LeaderWatch } from "./leader-watch.ts";

/** A client of this tab. */
export interface Member {
  readonly token: TokenProvider | undefined;
  /** Makes the real client, when this tab begins to lead. */
  readonly connect: (token: TokenProvider) => Client;
}

/** A socket of this tab, as its client sees it. */
class TabSocket implements WebSocketLike {
  onopen: unknown = null;
  onmessage: unknown = null;
  onclose: unknown = null;
  onerror: unknown = null;
  readonly id = newName();
  readonly isFresh: boolean;
  /** The leader that has accepted it. */
  leader: string | undefined;
  readonly #group: TabGroup;

  constructor(group: TabGroup, isFresh: boolean) {
    this.#group = group;
    this.isFresh = isFresh;
    group.opening(this);
  }

  send(text: string): void {
    this.#group.toLeader(this, text);
  }

  close(): void {
    this.#group.closing(this);
  }

  tell(handler: unknown, event: object): void {
    if (typeof handler === "function") handler(event);
  }
}

/**
 * This tab among the tabs that share a connection. One of them leads: it has the real client, and answers the others. If it
 * ends, or is silent for too long, another one leads. A tab belongs to the group as long as one of its clients needs a
 * connection.
 */
export class TabGroup {
  readonly #name: string;
  readonly #meeting: Meeting;
  readonly #ended: (group: TabGroup) => void;
  readonly #channel: Channel;
  readonly #tab = newName();
  /** Held as long as the tab belongs to the group, so that the leading tab learns when it has ended. */
  readonly #membership: HeldLock;
  /** Held by the tab that leads. */
  readonly #leadership: HeldLock;
  readonly #watch: LeaderWatch;
  /** Whether each client needs a connection now, in the order in which they began to. */
  readonly #members = new Map<Member, boolean>();
  /** Members that have not asked for a socket since they began. */
  readonly #fresh = new Set<Member>();
  readonly #sockets = new Map<string, TabSocket>();
  /** Only while this tab leads. */
  #leader: Leader | undefined;
  /** The term of the leader that this tab follows. `undefined` until it has heard of one. */
  #term: string | undefined;

  /**
   * @param silenceMs How long the leading tab may be silent, in milliseconds.
   * @param ended The tab belongs to the group no more, so its next client needs another one.
   */
  constructor(name: string, meeting: Meeting, silenceMs: number, ended: (group: TabGroup) => void) {
    this.#name = name;
    this.#meeting = meeting;
    this.#ended = ended;
    this.#channel = meeting.open(name);
    this.#channel.onmessage = ({ data }) => this.#receive(data);
    this.#membership = new HeldLock(meeting.locks, `${name} ${this.#tab}`, { won: () => {}, lost: () => {} });
    this.#membership.request();
    this.#leadership = new HeldLock(meeting.locks, name, {
      won: () => this.#lead(),
      lost: () => this.#lostLead(),
    });
    this.#leadership.request();
    this.#watch = new LeaderWatch(
      silenceMs,
      () => this.#channel.postMessage({ type: "ping", leader: this.#term }),
      () => this.#leadership.steal(),
    );
    this.#watch.start();
  }

  /** A client begins to need a connection. */
  use(member: Member): void {
    if (this.#members.get(member) === true) return;
    if (!this.#members.delete(member)) {
      this.#fresh.add(member);
      // It may have another token than that which was refused.
      this.#leader?.restart();
    }
    this.#members.set(member, true);
  }

  /** A client needs no connection for now. */
  rest(member: Member): void {
    if (!this.#members.has(member)) return;
    this.#members.set(member, false);
    this.#endIfUnused();
  }

  /** A client has stopped. */
  leave(member: Member): void {
    this.#members.delete(member);
    this.#fresh.delete(member);
    this.#endIfUnused();
  }

  /** Makes a socket as `new WebSocket` does. */
  socket(member: Member): WebSocketLike {
    this.use(member);
    return new TabSocket(this, this.#fresh.delete(member));
  }

  opening(socket: TabSocket): void {
    this.#sockets.set(socket.id, socket);
    // The client assigns its listeners after this.
    queueMicrotask(() => this.#open(socket));
  }

  toLeader({ id, leader }: TabSocket, text: string): void {
    if (leader !== undefined) this.#toLeader({ type: "to-leader", socket: id, leader, text });
  }

  closing(socket: TabSocket): void {
    if (this.#sockets.delete(socket.id)) this.#toLeader({ type: "close", socket: socket.id });
  }

  #open({ id, isFresh }: TabSocket): void {
    if (this.#sockets.has(id)) this.#toLeader({ type: "open", socket: id, tab: this.#tab, isFresh });
  }

  /** A channel does not deliver to the tab that sends. */
  #toLeader(message: TabMessage): void {
    if (this.#leader === undefined) this.#channel.postMessage(message);
    // An answer must not arrive before the call that has asked returns.
    else queueMicrotask(() => this.#leader?.receive(message));
  }

  #toTab(message: TabMessage): void {
    if ("socket" in message && this.#sockets.has(message.socket)) this.#receive(message);
    else this.#channel.postMessage(message);
  }

  #receive(message: TabMessage): void {
    switch (message.type) {
      case "leader":
        // This tab leads until it has lost the lock, whatever an earlier leader has announced.
        if (this.#leader === undefined) this.#follow(message.leader);
        break;
      case "opened":
      case "to-tab":
      case "closed":
      case "pong":
        this.#answered(message);
        break;
      default:
        this.#leader?.receive(message);
    }
  }

  /** A message of a leader, perhaps of one that has not noticed yet that it leads no more. */
  #answered(message: Extract<TabMessage, { type: "opened" | "to-tab" | "closed" | "pong" }>): void {
    if (message.type !== "closed") this.#term ??= message.leader;
    if (message.leader !== this.#term) return;
    this.#watch.heard();
    const socket = "socket" in message ? this.#sockets.get(message.socket) : undefined;
    if (socket === undefined) return;
    if (message.type === "opened" && socket.leader === undefined) {
      socket.leader = message.leader;
      socket.tell(socket.onopen, {});
    } else if (message.type === "to-tab") socket.tell(socket.onmessage, { data: message.text });
    else if (message.type === "closed") this.#drop(socket, message.code, message.reason);
  }

  #drop(socket: TabSocket, code: number, reason: string): void {
    this.#sockets.delete(socket.id);
    socket.tell(socket.onclose, { code, reason });
  }

  /** Open sockets ended with the tab that led. Those that wait ask the new one. */
  #follow(term: string | undefined): void {
    this.#term = term;
    this.#watch.heard();
    for (const socket of [...this.#sockets.values()]) {
      if (socket.leader === undefined) this.#open(socket);
      else if (socket.leader !== term) this.#drop(socket, LOST, "the tab that led has ended");
    }
  }

  #lead(): void {
    const latest = () => [...this.#members.keys()].at(-1);
    const real = latest()?.connect(() => latest()?.token?.());
    if (real === undefined) return;
    const leader = new Leader(real, this.#name, this.#tab, this.#meeting.locks, {
      send: (message) => this.#toTab(message),
      unused: () => this.#endIfUnused(),
      stopped: () => this.#end(),
    });
    this.#leader = leader;
    this.#watch.stop();
    this.#channel.postMessage({ type: "leader", leader: leader.id });
    this.#follow(leader.id);
  }

  /** Another tab has taken over, because this one was silent. */
  #lostLead(): void {
    const leader = this.#leader;
    this.#leader = undefined;
    leader?.end();
    this.#leadership.request();
    this.#watch.start();
    this.#follow(undefined);
    this.#endIfUnused();
  }

  #endIfUnused(): void {
    const isNeeded = this.#leader?.isNeeded === true;
    const isUsed = [...this.#members.values()].includes(true) || (this.#members.size > 0 && isNeeded);
    if (!isUsed && this.#leader?.isRefusing !== true) this.#end();
  }

  #end(): void {
    this.#ended(this);
    this.#watch.stop();
    this.#members.clear();
    const leader = this.#leader;
    this.#leader = undefined;
    leader?.end();
    // The client of a socket that still waits connects to the next group.
    for (const socket of [...this.#sockets.values()]) this.#drop(socket, LOST, "the tab has left the group");
    this.#channel.onmessage = null;
    this.#channel.close();
    this.#leadership.end();
    this.#membership.end();
  }
}
