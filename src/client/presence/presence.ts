/**
 * Presence: enters rooms, for as long as the application wants. It is an entry of its own in the package, so that
 * applications without it do not load it.
 */
import { TidewireError } from "../../protocol/errors.ts";
import type { EnterMessage, ErrorMessage, ServerMessage } from "../../protocol/messages.ts";
import type { Client, Query } from "../client.ts";
import type { Companion } from "../companion.ts";
import type { Link } from "../link.ts";
import { toError } from "../to-error.ts";
import { tabId } from "./tab.ts";

/** An entry, as followers of the collection `presence` see it. */
export interface PresenceEntry<D extends object = Record<string, unknown>> {
  readonly _id: string;
  readonly room: string;
  /** The `sub` of the user's token. */
  readonly user: string;
  /** The `iss` of the user's token, where the service accepts several issuers. Users of different issuers may share a `sub`. */
  readonly iss?: string;
  /** `null` if the user has entered without data. */
  readonly data: D | null;
  /** When the user entered, as an ISO date. */
  readonly since: string;
}

/** The state of the own entry. */
export interface EntryState {
  /** `entering`: not in the room yet, or the client is offline. `left`: ended, by `leave` or with `error`. */
  readonly status: "entering" | "present" | "left";
  /** Why the service has refused or ended the entry. */
  readonly error: TidewireError | undefined;
}

/** The own entry in a room. */
export interface Entry<D extends object = Record<string, unknown>> {
  readonly state: EntryState;
  /** Replaces the data that others see. Of several calls in a row, the last one counts. */
  update(data: D): void;
  /** Leaves the room, unless another part of the application has entered it as well. */
  leave(): void;
  /**
   * Calls `listener` with the state, at once and after every change.
   * @returns A function that stops that.
   */
  onState(listener: (state: EntryState) => void): () => void;
}

/**
 * Enters a room. The client enters again after each reconnection, with the same tab, so that others see one stay. Parts of
 * an application that enter the same room share the entry, and the last data count.
 */
export function enter<D extends object = Record<string, unknown>>(
  client: Client,
  room: string,
  data?: D,
): Entry<D> {
  let rooms = roomsOf.get(client);
  if (rooms === undefined) {
    rooms = new Rooms();
    roomsOf.set(client, rooms);
  }
  const entry = rooms.enter(room, data);
  rooms.release = client.attach(rooms);
  return entry;
}

/** Everybody in a room, as a live query. To follow it does not mean to be in the room. */
export function whoIsIn<D extends object = Record<string, unknown>>(
  client: Client,
  room: string,
): Query<PresenceEntry<D>> {
  const entries = client.collection<PresenceEntry>("presence").find({ room });
  return entries as unknown as Query<PresenceEntry<D>>; // the application declares the type of the data
}

const roomsOf = new WeakMap<Client, Rooms>();

/** The first pause before a refused entry is requested again, in milliseconds. Later ones double, up to the maximum. */
const ASK_AGAIN_MS = 1_000;
const ASK_AGAIN_MAX_MS = 30_000;

/** How long an entry outlives its request if the service does not say, in milliseconds. */
const TTL_MS = 15_000;

/** Begins the ids of entries. Queries and fences have others. */
const ID = "presence-";
let count = 0;

/** One entry, and the parts of the application that keep it. */
class Stay {
  readonly id = ID + ++count;
  readonly room: string;
  data: object | undefined;
  /** `data` as it was given: the application may change the object, and give it again. */
  json: string | undefined;
  users = 0;
  attempts = 0;
  /** Repeats the request, on a connection that keeps no entry. */
  timer: ReturnType<typeof setTimeout> | undefined;
  /** The connections on which a request waits, which takes the data of the moment in which it is sent. */
  readonly waiting = new Set<Link>();
  /** The connections on which the service has confirmed the entry. */
  readonly confirmed = new Set<Link>();
  readonly listeners = new Set<(state: EntryState) => void>();
  state: EntryState = { status: "entering", error: undefined };

  constructor(room: string) {
    this.room = room;
  }

  /** @returns Whether the data are others than before. */
  give(data: object): boolean {
    const { json } = this;
    this.json = JSON.stringify(data);
    this.data = data;
    return this.json !== json;
  }

  set(status: EntryState["status"], error?: TidewireError): void {
    if (this.state.status === status && this.state.error === error) return;
    this.state = { status, error };
    for (const listener of [...this.listeners]) listener(this.state);
  }
}

/** All rooms that a client is in. */
class Rooms implements Companion {
  readonly #tab = tabId();
  readonly #byRoom = new Map<string, Stay>();
  readonly #links = new Set<Link>();
  /** Lets the client end its connection if nothing needs it. */
  release: () => void = () => {};

  get isNeeded(): boolean {
    return this.#byRoom.size > 0;
  }

  enter<D extends object>(room: string, data: D | undefined): Entry<D> {
    let known = this.#byRoom.get(room);
    if (known === undefined) {
      known = new Stay(room);
      this.#byRoom.set(room, known);
    }
    const stay = known;
    stay.users++;
    const isNew = stay.users === 1;
    if (data !== undefined) stay.give(data);
    if (isNew || data !== undefined) this.#askEverywhere(stay);
    let hasLeft = false;
    return {
      get state() {
        return stay.state;
      },
      update: (next) => {
        if (hasLeft || stay.state.status === "left") return;
        if (stay.give(next)) this.#askEverywhere(stay);
      },
      leave: () => {
        if (hasLeft) return;
        hasLeft = true;
        stay.users--;
        // A component that is mounted again at once was never away.
        setTimeout(() => stay.users === 0 && this.#end(stay));
      },
      onState: (listener) => {
        stay.listeners.add(listener);
        listener(stay.state);
        return () => stay.listeners.delete(listener);
      },
    };
  }

  ask(link: Link): void {
    if (this.#links.has(link)) return;
    for (const other of this.#links) if (!other.requests.isOpen) this.#links.delete(other);
    this.#links.add(link);
    for (const stay of this.#byRoom.values()) this.#ask(stay, link);
  }

  receive(link: Link, message: ServerMessage): boolean {
    if (message.type !== "entered" && message.type !== "left" && message.type !== "error") return false;
    const stay = [...this.#byRoom.values()].find(({ id }) => id === message.id);
    if (stay === undefined) {
      // It was left before the service had answered.
      if (message.type === "entered") link.send({ type: "leave", id: message.id });
      return message.id?.startsWith(ID) === true;
    }
    if (message.type === "entered") {
      stay.attempts = 0;
      stay.confirmed.add(link);
      stay.set("present");
    } else if (message.type === "error") this.#refused(stay, link, message);
    else if (message.reason === "forbidden")
      this.#drop(stay, new TidewireError("forbidden", "the right to be in the room was withdrawn"));
    else this.#ask(stay, link);
    return true;
  }

  /** The service keeps an entry for a while. Whether that is long enough shows when it answers again. */
  lost(): void {
    for (const stay of this.#byRoom.values()) {
      for (const link of stay.confirmed) if (!link.requests.isOpen) stay.confirmed.delete(link);
      if (stay.confirmed.size === 0) stay.set("entering");
    }
  }

  stopped(error: TidewireError): void {
    this.#links.clear();
    for (const stay of [...this.#byRoom.values()]) this.#drop(stay, error);
  }

  #askEverywhere(stay: Stay): void {
    for (const link of this.#links) this.#ask(stay, link);
  }

  #ask(stay: Stay, link: Link): void {
    if (!link.requests.isOpen) {
      this.#links.delete(link);
      return;
    }
    if (stay.waiting.has(link)) return;
    stay.waiting.add(link);
    const make = (): EnterMessage | undefined => {
      stay.waiting.delete(link);
      if (this.#byRoom.get(stay.room) !== stay) return undefined;
      if (link.transport?.post === undefined) return this.#messageOf(stay);
      void this.#repeat(stay, link);
      return undefined;
    };
    link.requests.add(make, JSON.stringify([stay.room, stay.data]));
  }

  #messageOf({ id, room, data }: Stay): EnterMessage {
    const own = data as EnterMessage["data"]; // any object
    return { type: "enter", id, room, tab: this.#tab, ...(own && { data: own }) };
  }

  /** [3.5] A connection of requests keeps no entry, so that the request is repeated. */
  async #repeat(stay: Stay, link: Link): Promise<void> {
    clearTimeout(stay.timer);
    const { id, room, tab, data } = this.#messageOf(stay);
    const query = { room, tab, ...(data && { data: JSON.stringify(data) }) };
    const answer: (ServerMessage & { ttl?: number }) | undefined = await link.transport?.post?.(
      "enter",
      query,
    );
    if (answer === undefined || !link.requests.isOpen) return;
    if (this.#byRoom.get(room) !== stay) {
      // It was left before the service had answered.
      this.#leave(link, id, room);
      return;
    }
    this.receive(link, { ...answer, id } as ServerMessage); // `entered` or `error`
    if (answer.type !== "entered") return;
    stay.timer = setTimeout(() => this.#ask(stay, link), (answer.ttl ?? TTL_MS) / 3);
  }

  #refused(stay: Stay, link: Link, message: ErrorMessage): void {
    const error = toError(message);
    if (message.retry !== "later" && message.retry !== "now") {
      this.#drop(stay, error);
      return;
    }
    stay.set("entering", error);
    const pauseMs =
      Math.min(ASK_AGAIN_MAX_MS, ASK_AGAIN_MS * 2 ** stay.attempts++) * (0.5 + Math.random() / 2);
    setTimeout(
      () => this.#byRoom.get(stay.room) === stay && this.#ask(stay, link),
      Math.max(pauseMs, message.retryAfterMs ?? 0),
    );
  }

  #end(stay: Stay): void {
    if (this.#byRoom.get(stay.room) !== stay) return;
    for (const link of this.#links) this.#leave(link, stay.id, stay.room);
    this.#drop(stay);
  }

  #leave(link: Link, id: string, room: string): void {
    if (link.transport?.post === undefined) link.send({ type: "leave", id });
    else void link.transport.post("leave", { room, tab: this.#tab });
  }

  #drop(stay: Stay, error?: TidewireError): void {
    clearTimeout(stay.timer);
    if (this.#byRoom.get(stay.room) === stay) this.#byRoom.delete(stay.room);
    stay.set("left", error);
    this.release();
  }
}
