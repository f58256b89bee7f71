import type {
  ClientMessage,
  ErrorMessage,
  ServerMessage,
  SubscribeMessage,
  UnsubscribedReason,
  ValueMode,
  WelcomeMessage,
} from "../protocol/messages.ts";
import { Place } from "./place.ts";
import { Reconnect } from "./reconnect.ts";

/** What a socket tells; `closed` comes once, also when it never opened. */
export interface SocketEvents {
  opened(): void;
  message(text: string): void;
  closed(code: number, reason: string): void;
}

/** As much of a WebSocket as is needed here; `end` drops it at once and need not tell `closed` any more. */
export interface Socket {
  send(text: string): void;
  end(): void;
}

/** What the follower is doing, for those who show it. */
export type FollowState =
  | { readonly is: "connecting" }
  | { readonly is: "connected"; readonly welcome: WelcomeMessage }
  /** Cut off; the next attempt comes after `delayMs`. */
  | { readonly is: "waiting"; readonly code: number; readonly reason: string; readonly delayMs: number }
  /** The node is going away: another connection is made before this one is left. */
  | { readonly is: "moving"; readonly withinMs: number };

/** Why it came to an end. */
export type FollowEnd =
  | { readonly why: "stopped" }
  | { readonly why: "closed"; readonly code: number; readonly reason: string }
  | { readonly why: "refused"; readonly error: ErrorMessage }
  | { readonly why: "unsubscribed"; readonly reason: UnsubscribedReason }
  | { readonly why: "no-token" };

export interface FollowOptions {
  /** Opens a socket with the subprotocol `tidewire.v1`. */
  readonly open: (events: SocketEvents) => Socket;
  /**
   * The token to say hello with.
   * @param fresh The last one is not good any more. `undefined` then means that there is no other.
   */
  readonly token: (fresh: boolean) => Promise<string | undefined>;
  readonly request: Omit<SubscribeMessage, "type" | "id" | "cursor" | "ticket">;
  readonly values?: ValueMode;
  /** Every message of the service, in order, none twice. */
  readonly onMessage: (message: ServerMessage) => void;
  readonly onState?: (state: FollowState) => void;
  readonly random?: () => number;
}

/** The one subscription of the connection. */
const ID = "1";
/** A socket that has not led to a welcome by then is given up. */
const WELCOME_WITHIN_MS = 15_000;
/** [6] Silence beyond the heartbeat that tells a dead connection; browsers do not show pings. */
const SILENCE_BEYOND_HEARTBEAT_MS = 10_000;

type Timer = ReturnType<typeof setTimeout>;

interface Link {
  readonly socket: Socket;
  silence: Timer | undefined;
  heartbeatMs: number | undefined;
  ended: boolean;
}

/**
 * Follows one subscription, whatever happens to its connections: comes back by cursor and ticket, and does what
 * close codes and `draining` say. Needs no Node module, so that any JavaScript runtime can use it.
 */
export class Follower {
  readonly ended: Promise<FollowEnd>;
  readonly #options: FollowOptions;
  readonly #reconnect: Reconnect;
  readonly #place: Place;
  #link: Link | undefined;
  /** Made while `#link` still serves, when its node goes away. */
  #nextLink: Link | undefined;
  #timers = new Set<Timer>();
  #lastError: ErrorMessage | undefined;
  #end: (end: FollowEnd) => void = () => {};
  #hasEnded = false;

  constructor(options: FollowOptions) {
    this.#options = options;
    this.#reconnect = new Reconnect(options.random);
    this.#place = new Place(ID, options.request.snapshot !== false);
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    void this.#connect(false);
  }

  /** Ends it; nothing is told any more. */
  stop(): void {
    this.#finish({ why: "stopped" });
  }

  /** Sends another message on the connection of now. `false` where there is none. */
  send(message: ClientMessage): boolean {
    if (this.#link?.heartbeatMs === undefined) return false;
    this.#link.socket.send(JSON.stringify(message));
    return true;
  }

  async #connect(withNewToken: boolean): Promise<void> {
    this.#options.onState?.({ is: "connecting" });
    const token = await this.#token(withNewToken);
    if (this.#hasEnded) return;
    if (withNewToken && token === undefined) this.#finish({ why: "no-token" });
    else this.#link = this.#open(token);
  }

  async #token(fresh: boolean): Promise<string | undefined> {
    try {
      return await this.#options.token(fresh);
    } catch {
      return undefined; // whoever makes tokens has told why; here it is the same as none
    }
  }

  #open(token: string | undefined): Link {
    const { open, values } = this.#options;
    this.#reconnect.attempted(Date.now());
    const socket = open({
      opened: () => {
        const hello: ClientMessage = { type: "hello" };
        if (token !== undefined) hello.token = token;
        if (values !== undefined) hello.values = values;
        socket.send(JSON.stringify(hello));
      },
      message: (text) => this.#receive(link, text),
      closed: (code, reason) => this.#closed(link, code, reason),
    });
    const link: Link = { socket, silence: undefined, heartbeatMs: undefined, ended: false };
    this.#heard(link);
    return link;
  }

  /** Drops a connection that has been silent for too long. */
  #heard(link: Link): void {
    clearTimeout(link.silence);
    const heartbeat = link.heartbeatMs;
    const patienceMs = heartbeat === undefined ? WELCOME_WITHIN_MS : heartbeat + SILENCE_BEYOND_HEARTBEAT_MS;
    link.silence = setTimeout(() => {
      link.socket.end();
      this.#closed(link, 1006, "nothing heard");
    }, patienceMs);
  }

  #receive(link: Link, text: string): void {
    if (link.ended || this.#hasEnded) return;
    // The service writes nothing but messages; what a later version adds is ignored below.
    const message = JSON.parse(text) as ServerMessage;
    if (message.type === "welcome") this.#welcomed(link, message);
    this.#heard(link);
    if (link !== this.#link) return;
    this.#place.take(message);
    this.#options.onMessage(message);
    this.#react(message);
  }

  #welcomed(link: Link, welcome: WelcomeMessage): void {
    link.heartbeatMs = welcome.heartbeat;
    this.#reconnect.welcomed(welcome.reconnect, Date.now());
    this.#lastError = undefined;
    if (link === this.#nextLink) {
      // From here on the old one is not listened to: what it still says comes again, after our cursor.
      if (this.#link !== undefined) this.#drop(this.#link);
      this.#link = link;
      this.#nextLink = undefined;
    }
    this.#options.onState?.({ is: "connected", welcome });
    this.#subscribe();
  }

  #subscribe(): void {
    const message: SubscribeMessage = { ...this.#options.request, type: "subscribe", id: ID };
    this.send({ ...message, ...this.#place.resumePoint });
  }

  #react(message: ServerMessage): void {
    if (message.type === "error") this.#failed(message);
    if (message.type === "unsubscribed") this.#finish({ why: "unsubscribed", reason: message.reason });
    if (message.type === "expiring") void this.#refresh();
    if (message.type === "draining") {
      this.#reconnect.told(message.withinMs, Date.now());
      this.#options.onState?.({ is: "moving", withinMs: message.withinMs });
      this.#later(this.#reconnect.momentWithin(message.withinMs), () => this.#move());
    }
  }

  /** An error about the subscription is answered here; one about the connection, by the close code after it. */
  #failed(error: ErrorMessage): void {
    if (error.retryAfterMs !== undefined) this.#reconnect.told(error.retryAfterMs, Date.now());
    this.#lastError = error;
    if (error.id !== ID) return;
    if (error.retry === "never" || error.retry === "token") this.#finish({ why: "refused", error });
    else {
      const delayMs = (error.retryAfterMs ?? 0) + this.#reconnect.nextDelayMs();
      const link = this.#link;
      this.#later(delayMs, () => {
        if (link === this.#link) this.#subscribe();
      });
    }
  }

  async #refresh(): Promise<void> {
    const token = await this.#token(true);
    if (token !== undefined && !this.#hasEnded) this.send({ type: "refresh", token });
  }

  /** [3.2, draining] Make before break. */
  async #move(): Promise<void> {
    if (this.#link === undefined || this.#nextLink !== undefined) return;
    const token = await this.#token(false);
    if (this.#link === undefined || this.#hasEnded) return;
    this.#nextLink = this.#open(token);
  }

  #closed(link: Link, code: number, reason: string): void {
    if (link.ended || this.#hasEnded) return;
    this.#drop(link);
    if (link === this.#nextLink) {
      this.#nextLink = undefined; // the one at hand still serves; when it ends, this begins anew
      return;
    }
    this.#link = undefined;
    if (this.#nextLink !== undefined) {
      this.#link = this.#nextLink;
      this.#nextLink = undefined;
      return;
    }
    const step = this.#reconnect.closed(code, Date.now());
    if (step.action === "stop") {
      this.#finish({ why: "closed", code, reason: this.#lastError?.message ?? reason });
      return;
    }
    const { delayMs, withNewToken } = step;
    this.#options.onState?.({ is: "waiting", code, reason: this.#lastError?.message ?? reason, delayMs });
    this.#lastError = undefined;
    this.#later(delayMs, () => void this.#connect(withNewToken));
  }

  #later(delayMs: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#hasEnded) work();
    }, delayMs);
    this.#timers.add(timer);
  }

  #drop(link: Link): void {
    link.ended = true;
    clearTimeout(link.silence);
    link.socket.end();
  }

  #finish(end: FollowEnd): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const link of [this.#link, this.#nextLink]) if (link !== undefined) this.#drop(link);
    this.#link = undefined;
    this.#nextLink = undefined;
    this.#end(end);
  }
}
