import { TidewireError } from "../../protocol/errors.ts";
import type { ServerMessage } from "../../protocol/messages.ts";
import type { Client } from "../client.ts";
import { hostOf } from "../internals.ts";
import { type Locks, newName, type TabMessage } from "./channel.ts";
import { errorMessage, TabConnection } from "./tab-connection.ts";

/** The connection to the service, or to the leading tab, is lost: the client of each tab tries again. */
export const LOST = 1006;
/** The one client has stopped: the client of each tab stops as well, with the error of the message before. */
const STOPPED = 1008;
/**
 * How long clients that were about to connect again learn that the one client has stopped, in milliseconds. The longest pause
 * of a tab's client is one second.
 */
const REFUSING_MS = 2_000;

/** Events of a leader, for the group of its tab. */
export interface LeaderEvents {
  /** Sends a message to the tab with that socket, this one or another. */
  send(message: TabMessage): void;
  /** No tab is connected any more. */
  unused(): void;
  /** The one client has stopped, and all tabs have had time to learn why. */
  stopped(): void;
}

/** The part of a tab while it leads: the one real client, and the tabs that it answers. */
export class Leader {
  /** The name of this term. */
  readonly id = newName();
  readonly #real: Client;
  readonly #name: string;
  readonly #tab: string;
  readonly #locks: Locks;
  readonly #events: LeaderEvents;
  readonly #served = new Map<string, TabConnection>();
  /** The sockets of other tabs, by their tab. */
  readonly #tabs = new Map<string, Set<string>>();
  readonly #over = new AbortController();
  readonly #unwatch: () => void;
  /** Why the one client has stopped. */
  #refusal: TidewireError | undefined;
  #refusing: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param name The name of the group.
   * @param tab The name of this tab.
   */
  constructor(real: Client, name: string, tab: string, locks: Locks, events: LeaderEvents) {
    this.#real = real;
    this.#name = name;
    this.#tab = tab;
    this.#locks = locks;
    this.#events = events;
    this.#unwatch = real.onState(({ status, error }) => {
      if (status === "stopped") this.#stopped(error);
      // The tabs show that they are offline. Their clients ask again, and are answered when the real one is connected.
      else if (status === "offline") this.#closeAll(error?.message ?? "offline");
    });
  }

  /** Whether a tab is connected, or has to learn that the one client has stopped. */
  get isNeeded(): boolean {
    return this.#served.size > 0 || this.isRefusing;
  }

  get isRefusing(): boolean {
    return this.#refusal !== undefined;
  }

  receive(message: TabMessage): void {
    switch (message.type) {
      case "open":
        this.#open(message);
        break;
      case "to-leader":
        if (message.leader === this.id) this.#served.get(message.socket)?.receive(JSON.parse(message.text)); // written by a client of the same page
        break;
      case "close":
        this.#forget(message.socket);
        if (!this.isNeeded) this.#events.unused();
        break;
      case "ping":
        if (message.leader === undefined || message.leader === this.id)
          this.#events.send({ type: "pong", leader: this.id });
        break;
      default:
        break; // for tabs that follow
    }
  }

  /** Starts the one client again after it has stopped. */
  restart(): void {
    if (this.#refusal === undefined) return;
    clearTimeout(this.#refusing);
    this.#refusal = undefined;
    this.#real.connect();
  }

  end(): void {
    this.#unwatch();
    clearTimeout(this.#refusing);
    this.#closeAll("the tab that led has ended");
    this.#over.abort();
    this.#real.close();
  }

  #open({ socket, tab, isFresh }: Extract<TabMessage, { type: "open" }>): void {
    if (this.#served.has(socket)) return;
    if (this.#refusal !== undefined && isFresh) {
      // A client that begins now may have another token than that which was refused. It is that of its own tab.
      this.#events.stopped();
      return;
    }
    this.#events.send({ type: "opened", socket, leader: this.id });
    if (this.#refusal !== undefined) {
      this.#refuse(socket, this.#refusal);
      return;
    }
    const send = (message: ServerMessage) => {
      if (this.#served.has(socket)) this.#tell(socket, message);
    };
    this.#served.set(socket, new TabConnection(hostOf(this.#real.collection("").find()), send));
    this.#watch(tab, socket);
  }

  /** Ends the connections of a tab when it has released its lock. */
  #watch(tab: string, socket: string): void {
    if (tab === this.#tab) return;
    const known = this.#tabs.get(tab);
    known?.add(socket);
    if (known !== undefined) return;
    const sockets = new Set([socket]);
    this.#tabs.set(tab, sockets);
    const hasEnded = async () => {
      this.#tabs.delete(tab);
      for (const one of sockets) this.receive({ type: "close", socket: one });
    };
    this.#locks.request(`${this.#name} ${tab}`, { signal: this.#over.signal }, hasEnded).catch(() => {
      // This tab leads no more.
    });
  }

  #stopped(error: TidewireError | undefined): void {
    const reason = error ?? new TidewireError("unavailable", "the tab that leads has closed its client");
    this.#refusal = reason;
    this.#refusing = setTimeout(() => this.#events.stopped(), REFUSING_MS);
    for (const socket of [...this.#served.keys()]) this.#refuse(socket, reason);
  }

  /** Ends the connection of a tab's client, which stops for this reason. */
  #refuse(socket: string, reason: TidewireError): void {
    this.#forget(socket);
    this.#tell(socket, errorMessage(undefined, reason));
    this.#close(socket, STOPPED, reason.message);
  }

  #closeAll(reason: string): void {
    for (const socket of [...this.#served.keys()]) {
      this.#forget(socket);
      this.#close(socket, LOST, reason);
    }
  }

  #forget(socket: string): void {
    this.#served.get(socket)?.end();
    this.#served.delete(socket);
    for (const sockets of this.#tabs.values()) sockets.delete(socket);
  }

  #tell(socket: string, message: ServerMessage): void {
    this.#events.send({ type: "to-tab", socket, leader: this.id, text: JSON.stringify(message) });
  }

  #close(socket: string, code: number, reason: string): void {
    this.#events.send({ type: "closed", socket, leader: this.id, code, reason });
  }
}
