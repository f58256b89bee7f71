/** Signals: the messages by which two pages agree on a connection. They travel as documents. */
import type { Client } from "tidewire/client";
import { post } from "./post.ts";

/** Session descriptions and ICE candidates, as the browser makes them. */
export interface SignalContent {
  readonly description?: RTCSessionDescriptionInit;
  readonly candidate?: RTCIceCandidateInit;
}

/** One of them, as its addressee sees it. The rule of the collection shows it to nobody else. */
export interface Signal {
  readonly _id: string;
  /** The user who has sent it: the backend has written the name. */
  readonly from: string;
  readonly fromPeer: string;
  readonly toPeer: string;
  /** Increases by one for each signal of a page. */
  readonly n: number;
  readonly content: string;
}

/** The address of a page: its user, and the id that the page has made at its start. */
export interface Address {
  readonly user: string;
  readonly peer: string;
}

/** Sends and receives the signals of this page. */
export class Signals {
  readonly #peer: string;
  readonly #isKnown: (from: Address) => boolean;
  readonly #receive: (from: Address, content: SignalContent) => void;
  #waiting: readonly Signal[] = [];
  /** The last signal of each page that was received. */
  readonly #received = new Map<string, number>();
  #sent = 0;
  #sending: Promise<unknown> = Promise.resolve();

  /**
   * @param peer The id of this page.
   * @param isKnown Whether presence shows this user with this page. Signals of others wait: the entry may arrive later.
   */
  constructor(
    client: Client,
    peer: string,
    isKnown: (from: Address) => boolean,
    receive: (from: Address, content: SignalContent) => void,
  ) {
    this.#peer = peer;
    this.#isKnown = isKnown;
    this.#receive = receive;
    client
      .collection<Signal>("signals")
      .find({ toPeer: peer })
      .subscribe({
        data: (signals) => {
          this.#waiting = signals;
          this.look();
        },
      });
  }

  /** Sends a signal after those before it. @throws {Error} The backend does not take it. */
  send(to: Address, content: SignalContent): Promise<unknown> {
    this.#sent += 1;
    const signal = { to: to.user, toPeer: to.peer, fromPeer: this.#peer, n: this.#sent, content };
    // One after the other, so that a candidate never arrives before its description.
    this.#sending = this.#sending.catch(() => {}).then(() => post("signal", signal)); // its sender has seen the error
    return this.#sending;
  }

  /** Looks at the signals that wait, because presence has changed. */
  look(): void {
    const taken = new Map<string, number>();
    for (const { from, fromPeer, n, content } of this.#waiting.toSorted((a, b) => a.n - b.n)) {
      const sender = { user: from, peer: fromPeer };
      if (n <= (this.#received.get(fromPeer) ?? 0) || !this.#isKnown(sender)) continue;
      this.#received.set(fromPeer, n);
      taken.set(fromPeer, n);
      this.#receive(sender, JSON.parse(content));
    }
    for (const [fromPeer, upTo] of taken) {
      post("taken", { peer: this.#peer, fromPeer, upTo }).catch(() => {}); // the database forgets them by itself
    }
  }
}
