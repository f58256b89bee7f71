/**
 * A connection to another page, by the pattern of perfect negotiation: both sides may begin at any time. If both do, the
 * polite one takes its own offer back.
 */
import type { SignalContent } from "./signals.ts";

/** For pages in different networks, add the addresses of your STUN and TURN servers. */
const CONFIGURATION: RTCConfiguration = { iceServers: [] };

/** The callbacks of a connection. */
export interface PeerEvents {
  readonly send: (content: SignalContent) => Promise<unknown>;
  readonly text: (text: string) => void;
  readonly state: (state: RTCPeerConnectionState) => void;
  readonly stream: (stream: MediaStream) => void;
}

/** A connection with a channel for texts, and perhaps a video in each direction. */
export class Peer {
  readonly #connection = new RTCPeerConnection(CONFIGURATION);
  /** Both sides open the channel with the same number, so that neither has to announce it. */
  readonly #channel = this.#connection.createDataChannel("chat", { negotiated: true, id: 0 });
  readonly #events: PeerEvents;
  readonly #isPolite: boolean;
  #isMakingOffer = false;
  #isIgnoringOffer = false;
  #isTakingAnswer = false;
  #received: Promise<void> = Promise.resolve();

  /** @param isPolite Of the two sides, exactly one. */
  constructor(isPolite: boolean, events: PeerEvents) {
    this.#isPolite = isPolite;
    this.#events = events;
    const connection = this.#connection;
    this.#channel.onmessage = ({ data }) => events.text(String(data));
    connection.onnegotiationneeded = () => this.#report(this.#offer());
    connection.onicecandidate = ({ candidate }) => {
      if (candidate !== null) this.#report(events.send({ candidate: candidate.toJSON() }));
    };
    connection.ontrack = ({ track, streams: [stream = new MediaStream([track])] }) => events.stream(stream);
    connection.onconnectionstatechange = () => {
      const { connectionState } = connection;
      events.state(connectionState);
      // The network has changed. Both sides make new candidates over the signals, which need no connection of their own.
      if (connectionState === "failed") connection.restartIce();
    };
  }

  /** Takes a signal after those before it: applying a description takes a while. */
  receive(content: SignalContent): void {
    this.#received = this.#received.then(() => this.#apply(content)).catch((error) => this.#failed(error));
  }

  /** @returns Whether the channel is open. Otherwise nothing was sent. */
  say(text: string): boolean {
    if (this.#channel.readyState !== "open") return false;
    this.#channel.send(text);
    return true;
  }

  /** Sends a stream. The browser asks for another negotiation by itself. */
  show(stream: MediaStream): void {
    for (const track of stream.getTracks()) this.#connection.addTrack(track, stream);
  }

  close(): void {
    // A connection that is closed reports nothing more.
    this.#connection.onconnectionstatechange = null;
    this.#connection.close();
  }

  async #offer(): Promise<void> {
    try {
      this.#isMakingOffer = true;
      await this.#connection.setLocalDescription();
      await this.#sendDescription();
    } finally {
      this.#isMakingOffer = false;
    }
  }

  async #apply({ description, candidate }: SignalContent): Promise<void> {
    const connection = this.#connection;
    if (connection.signalingState === "closed") return;
    if (description !== undefined) {
      const isReady =
        !this.#isMakingOffer && (connection.signalingState === "stable" || this.#isTakingAnswer);
      this.#isIgnoringOffer = !this.#isPolite && description.type === "offer" && !isReady;
      if (this.#isIgnoringOffer) return;
      this.#isTakingAnswer = description.type === "answer";
      try {
        // Takes an own offer back, if there is one.
        await connection.setRemoteDescription(description);
      } finally {
        this.#isTakingAnswer = false;
      }
      if (description.type !== "offer") return;
      await connection.setLocalDescription();
      await this.#sendDescription();
    } else if (candidate !== undefined) {
      try {
        await connection.addIceCandidate(candidate);
      } catch (error) {
        // The candidates of an offer that was ignored fit nothing.
        if (!this.#isIgnoringOffer) throw error;
      }
    }
  }

  async #sendDescription(): Promise<void> {
    const { localDescription } = this.#connection;
    if (localDescription !== null) await this.#events.send({ description: localDescription.toJSON() });
  }

  #report(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.#failed(error));
  }

  #failed(error: unknown): void {
    if (this.#connection.signalingState === "closed") return;
    console.warn("the connection could not be negotiated", error);
    this.#events.state("failed");
  }
}
