import type { ServerMessage } from "../../protocol/messages.ts";
import type { Client } from "../client.ts";
import { hostOf } from "../internals.ts";
import type { WebSocketLike } from "../transport.ts";
import type { Channel, Meeting, TabMessage } from "./channel.ts";
import { TabConnection } from "./tab-connection.ts";

/** The connection to the service is lost: the client of each tab tries again. */
const LOST = 1006;

/** A socket of this tab, as its client sees it. */
class TabSocket implements WebSocketLike {
  onopen: unknown = null;
  onmessage: unknown = null;
  onclose: unknown = null;
  onerror: unknown = null;
  readonly id = newName();
  isOpen = false;
  readonly #group: TabGroup;

  constructor(group: TabGroup) {
    this.#group = group;
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
 * ends, another one leads.
 */
export class TabGroup {
  readonly #name: string;
  readonly #meeting: Meeting;
  readonly #channel: Channel;
  readonly #connect: () => Client;
  readonly #tab = newName();
  readonly #sockets = new Map<string, TabSocket>();
  /** Only while this tab leads. */
  #real: Client | undefined;
  readonly #served = new Map<string, TabConnection>();
  /** The sockets of other tabs, by their tab. */
  readonly #tabs = new Map<string, Set<string>>();

  /** @param connect Makes the real client, when this tab begins to lead. */
  constructor(name: string, meeting: Meeting, connect: () => Client) {
    this.#name = name;
    this.#meeting = meeting;
    this.#connect = connect;
    this.#channel = meeting.open(name);
    this.#channel.onmessage = ({ data }) => this.#receive(data);
    const forever = new Promise<void>(() => {});
    // Held as long as the tab lives, so that the leading tab learns when it has ended.
    void meeting.locks.request(`${name} ${this.#tab}`, {}, () => forever);
    void meeting.locks.request(name, {}, () => {
      this.#lead();
      return forever;
    });
  }

  /** Makes a socket as `new WebSocket` does. */
  socket(): WebSocketLike {
    return new TabSocket(this);
  }

  opening(socket: TabSocket): void {
    this.#sockets.set(socket.id, socket);
    // The client assigns its listeners after this.
    queueMicrotask(() => this.#toLeader({ type: "open", socket: socket.id, tab: this.#tab }));
  }

  toLeader(socket: TabSocket, text: string): void {
    this.#toLeader({ type: "to-leader", socket: socket.id, text });
  }

  closing(socket: TabSocket): void {
    if (this.#sockets.delete(socket.id)) this.#toLeader({ type: "close", socket: socket.id });
  }

  /** A channel does not deliver to the tab that sends. */
  #toLeader(message: TabMessage): void {
    if (this.#real === undefined) this.#channel.postMessage(message);
    // An answer must not arrive before the call that has asked returns.
    else queueMicrotask(() => this.#serve(message));
  }

  #toTab(message: TabMessage): void {
    if ("socket" in message && this.#sockets.has(message.socket)) this.#receive(message);
    else this.#channel.postMessage(message);
  }

  #receive(message: TabMessage): void {
    if (this.#real !== undefined) this.#serve(message);
    if (message.type === "leader") this.#anotherLeads();
    const socket = "socket" in message ? this.#sockets.get(message.socket) : undefined;
    if (socket === undefined) return;
    if (message.type === "opened" && !socket.isOpen) {
      socket.isOpen = true;
      socket.tell(socket.onopen, {});
    } else if (message.type === "to-tab") socket.tell(socket.onmessage, { data: message.text });
    else if (message.type === "closed") this.#drop(socket, message.code, message.reason);
  }

  #drop(socket: TabSocket, code: number, reason: string): void {
    this.#sockets.delete(socket.id);
    socket.tell(socket.onclose, { code, reason });
  }

  /** Open sockets ended with the tab that led. Those that wait ask the new one. */
  #anotherLeads(): void {
    for (const socket of [...this.#sockets.values()]) {
      if (socket.isOpen) this.#drop(socket, LOST, "the tab that led has ended");
      else this.#toLeader({ type: "open", socket: socket.id, tab: this.#tab });
    }
  }

  #lead(): void {
    const real = this.#connect();
    this.#real = real;
    real.onState(({ status, error }) => {
      if (status !== "offline" && status !== "stopped") return;
      // The tabs show that they are offline. Their clients ask again, and are answered when the real one is connected.
      for (const id of [...this.#served.keys()]) this.#end(id, LOST, error?.message ?? "offline");
    });
    this.#channel.postMessage({ type: "leader" });
    this.#anotherLeads();
  }

  #serve(message: TabMessage): void {
    switch (message.type) {
      case "open":
        this.#open(message.socket, message.tab);
        break;
      case "to-leader":
        this.#served.get(message.socket)?.receive(JSON.parse(message.text)); // written by a client of the same page
        break;
      case "close":
        this.#served.get(message.socket)?.end();
        this.#served.delete(message.socket);
        break;
      default:
        break;
    }
  }

  #open(socket: string, tab: string): void {
    if (this.#real === undefined || this.#served.has(socket)) return;
    // The token of now may be another one than that which was refused.
    if (this.#real.state.status === "stopped") this.#real.connect();
    const send = (message: ServerMessage) => {
      if (this.#served.has(socket)) this.#toTab({ type: "to-tab", socket, text: JSON.stringify(message) });
    };
    this.#served.set(socket, new TabConnection(hostOf(this.#real.collection("").find()), send));
    this.#watch(tab, socket);
    this.#toTab({ type: "opened", socket });
  }

  /** Ends the connections of a tab when it has released its lock. */
  #watch(tab: string, socket: string): void {
    if (tab === this.#tab) return;
    const known = this.#tabs.get(tab);
    known?.add(socket);
    if (known !== undefined) return;
    const sockets = new Set([socket]);
    this.#tabs.set(tab, sockets);
    void this.#meeting.locks.request(`${this.#name} ${tab}`, {}, async () => {
      this.#tabs.delete(tab);
      for (const one of sockets) this.#serve({ type: "close", socket: one });
    });
  }

  #end(socket: string, code: number, reason: string): void {
    this.#served.get(socket)?.end();
    this.#served.delete(socket);
    this.#toTab({ type: "closed", socket, code, reason });
  }
}

const newName = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(36)).join("");
