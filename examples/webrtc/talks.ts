/** The conversations of this page. Each follows the presence of the other side. */
import type { PresenceEntry } from "tidewire/client/presence";
import { Peer } from "./peer.ts";
import type { Address, SignalContent } from "./signals.ts";

/** The data of an entry: the id that a page has made at its start. After a reload it is another one. */
export interface Here {
  readonly peer: string;
}

/** Somebody else in the room. */
export type Person = PresenceEntry<Here>;

/** `gone`: the other side has left the room. */
export type TalkState = "connecting" | "connected" | "reconnecting" | "gone";

/** A text, and whether it is from this side. */
export interface Text {
  readonly isOwn: boolean;
  readonly text: string;
}

/** One conversation. */
export interface Talk {
  readonly user: string;
  peer: string;
  connection: Peer;
  state: TalkState;
  readonly texts: Text[];
  unread: number;
  /** The video of the other side. */
  stream: MediaStream | null;
}

/** All of them, by the entry of the other side, which a reload keeps. */
export class Talks {
  readonly all = new Map<string, Talk>();
  readonly #ownPeer: string;
  readonly #send: (to: Address, content: SignalContent) => Promise<unknown>;
  readonly #changed: (entry: string) => void;
  #people: readonly Person[] = [];
  /** The video of this side, for each connection that follows. */
  #video: MediaStream | null = null;

  constructor(
    ownPeer: string,
    send: (to: Address, content: SignalContent) => Promise<unknown>,
    changed: (entry: string) => void,
  ) {
    this.#ownPeer = ownPeer;
    this.#send = send;
    this.#changed = changed;
  }

  /** The others in the room. A page that was reloaded gets another connection. */
  set people(people: readonly Person[]) {
    this.#people = people;
    for (const [entry, talk] of this.all) {
      const person = people.find(({ _id }) => _id === entry);
      if (person?.data == null) this.#gone(entry, talk);
      else if (person.data.peer !== talk.peer || talk.state === "gone")
        this.#replace(entry, talk, person.data.peer);
    }
  }

  /** Begins a conversation, or returns to it. */
  begin({ _id, user, data }: Person): void {
    if (data === null || this.all.has(_id)) return;
    const connection = this.#connect(_id, { user, peer: data.peer });
    this.all.set(_id, {
      user,
      peer: data.peer,
      connection,
      state: "connecting",
      texts: [],
      unread: 0,
      stream: null,
    });
    this.#changed(_id);
  }

  /** Takes a signal of somebody whom presence shows. The first one begins a conversation. */
  receive({ user, peer }: Address, content: SignalContent): void {
    const person = this.#people.find((other) => other.user === user && other.data?.peer === peer);
    if (person === undefined) return;
    this.begin(person);
    this.all.get(person._id)?.connection.receive(content);
  }

  /** @returns Whether the text was sent. */
  say(entry: string, text: string): boolean {
    const talk = this.all.get(entry);
    if (talk === undefined || !talk.connection.say(text)) return false;
    talk.texts.push({ isOwn: true, text });
    this.#changed(entry);
    return true;
  }

  /** Sends a video to everybody with whom there is a conversation. */
  show(stream: MediaStream): void {
    this.#video = stream;
    for (const { connection, state } of this.all.values()) if (state !== "gone") connection.show(stream);
  }

  #connect(entry: string, to: Address): Peer {
    const change = (edit: (talk: Talk) => void) => {
      const talk = this.all.get(entry);
      // A connection that was replaced has no say any more.
      if (talk === undefined || talk.connection !== connection) return;
      edit(talk);
      this.#changed(entry);
    };
    const connection: Peer = new Peer(this.#ownPeer < to.peer, {
      send: (content) => this.#send(to, content),
      text: (text) =>
        change((talk) => {
          talk.texts.push({ isOwn: false, text });
          talk.unread += 1;
        }),
      state: (state) =>
        change((talk) => {
          if (state === "connected") talk.state = "connected";
          else if (state !== "new" && talk.state === "connected") talk.state = "reconnecting";
        }),
      stream: (stream) =>
        change((talk) => {
          talk.stream = stream;
        }),
    });
    if (this.#video !== null) connection.show(this.#video);
    return connection;
  }

  #replace(entry: string, talk: Talk, peer: string): void {
    talk.connection.close();
    talk.peer = peer;
    talk.state = "reconnecting";
    talk.stream = null;
    talk.connection = this.#connect(entry, { user: talk.user, peer });
    this.#changed(entry);
  }

  #gone(entry: string, talk: Talk): void {
    if (talk.state === "gone") return;
    talk.connection.close();
    talk.state = "gone";
    talk.stream = null;
    this.#changed(entry);
  }
}
