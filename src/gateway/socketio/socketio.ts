/**
 * Messages of the service as events of Socket.IO. The protocol has no close codes, so the way in which a client is
 * closed must express whether it should reconnect.
 */
import type { Chunk, Deflated } from "../../feed/chunk.ts";
import type { SharedCompression } from "../../feed/shared-compression.ts";
import { CLOSE_CODES, type CloseCode } from "../../protocol/close-codes.ts";
import type { ErrorMessage, ServerMessage } from "../../protocol/messages.ts";
import type { Transport } from "../connection/transport.ts";
import { NOT_SERVED, willPass } from "../transports/http-exchange.ts";
import { headIn, toDeflatedFrame, toFrame } from "../transports/ws-frames.ts";
import type { Acknowledgements } from "./socketio-acks.ts";
import type { SocketIoSession, WirePacket } from "./socketio-session.ts";

const EVENT = "2";
/** Packet type of the engine for a packet of Socket.IO. */
const MESSAGE = "4";

/** Events of one namespace, as packets that all of its clients share. */
export class SocketIoEvents {
  readonly #prefix: string;
  readonly #made = new WeakMap<Chunk, readonly WirePacket[]>();
  /** The same with compressed frames. */
  readonly #deflated = new WeakMap<Chunk, readonly WirePacket[]>();

  /** @param namespace Including its slash. */
  constructor(namespace: string) {
    this.#prefix = namespace === "/" ? EVENT : `${EVENT}${namespace},`;
  }

  /**
   * The packets of a chunk, each with its WebSocket frame. All clients that receive the chunk share them.
   * @param compression Of the client; `null` if it takes no compressed messages.
   */
  of(chunk: Chunk, compression: SharedCompression | null): readonly WirePacket[] {
    const deflated = compression?.of(chunk);
    return deflated === undefined || deflated.bytes === 0
      ? this.#plain(chunk)
      : this.#compressed(chunk, deflated);
  }

  #compressed(chunk: Chunk, { rests }: Deflated): readonly WirePacket[] {
    const made = this.#deflated.get(chunk);
    if (made !== undefined) return made;
    const packets = chunk.messages.map(({ type, text }, index): WirePacket => {
      const rest = rests[index] ?? null;
      const event = this.#text(type, text);
      if (rest === null) return framed(event);
      const head = `${MESSAGE}${this.#prefix}["${type}",${headIn(chunk, index)}`;
      return framed(event, toDeflatedFrame(head, rest, "]"));
    });
    // Snapshots are kept for later readers, within a limit that does not include these packets.
    if (chunk.messages[0]?.type !== "snapshot") this.#deflated.set(chunk, packets);
    return packets;
  }

  #plain(chunk: Chunk): readonly WirePacket[] {
    const made = this.#made.get(chunk);
    if (made !== undefined) return made;
    const texts = chunk.messages.map(({ type, text }) => this.#text(type, text));
    // Snapshots are kept for later readers, within a limit that does not include these packets.
    if (chunk.messages[0]?.type === "snapshot") return texts.map(packet);
    const packets = texts.map((text) => framed(text));
    this.#made.set(chunk, packets);
    return packets;
  }

  one(message: ServerMessage): WirePacket {
    return packet(this.#text(message.type, JSON.stringify(message)));
  }

  #text(type: string, json: string): string {
    return `${this.#prefix}["${type}",${json}]`;
  }
}

const framed = (text: string, frame = toFrame(MESSAGE + text)): WirePacket => ({
  text,
  options: { compress: false, bytes: Buffer.byteLength(text), wsPreEncodedFrame: [frame] },
});

const packet = (text: string): WirePacket => ({
  text,
  options: { compress: false, bytes: Buffer.byteLength(text) },
});

/** The actions of the library for one client in one namespace. */
export interface Membership {
  /** Admits the client, or refuses it with a reason. A refused client does not reconnect by itself. */
  admit(refusal: ErrorMessage | null): void;
  /** Removes the client from the namespace permanently. */
  dismiss(): void;
}

/**
 * A client in one namespace of Socket.IO. Each message is an event of its type. A refused client receives
 * `connect_error`. Whether a closed client reconnects depends on how it is closed, because this protocol has no close
 * codes.
 */
export class SocketIoTransport implements Transport {
  readonly kind = "socketio";
  readonly #session: SocketIoSession;
  readonly #events: SocketIoEvents;
  readonly #acks: Acknowledgements;
  readonly #membership: Membership;
  #state: "pending" | "admitted" | "joined" | "over" = "pending";
  #refusal: ErrorMessage = NOT_SERVED;
  /** Messages from before the library has confirmed the connection to the client. */
  readonly #held: ServerMessage[] = [];

  constructor(
    session: SocketIoSession,
    events: SocketIoEvents,
    acks: Acknowledgements,
    membership: Membership,
  ) {
    this.#session = session;
    this.#events = events;
    this.#acks = acks;
    this.#membership = membership;
  }

  get compression(): SharedCompression | null {
    return this.#session.compression;
  }

  get bufferedBytes(): number {
    return this.#session.bufferedBytes;
  }

  get takenBytes(): number {
    return this.#session.takenBytes;
  }

  write(chunk: Chunk): void {
    if (this.#state !== "joined") return;
    for (const packet of this.#events.of(chunk, this.compression)) this.#session.write(packet);
  }

  send(message: ServerMessage): void {
    if (this.#state === "joined") {
      this.#acks.settle(message);
      this.#session.write(this.#events.one(message));
    } else if (this.#state === "pending" && message.type === "error") {
      this.#refusal = message;
    } else if (this.#state !== "over") {
      this.#held.push(message);
      if (message.type === "welcome") this.#admit(null);
    }
  }

  /** The client knows that it was admitted. */
  joined(): void {
    if (this.#state !== "admitted") return;
    this.#state = "joined";
    for (const message of this.#held.splice(0)) this.send(message);
  }

  /** The client has left the namespace, or the session has ended. */
  left(): void {
    this.#admit(NOT_SERVED);
    this.#state = "over";
  }

  flushed(): Promise<void> {
    return this.#session.flushed();
  }

  /** The engine sends pings by itself, at the same interval. */
  ping(): boolean {
    return false;
  }

  pong(): void {}

  pause(): void {
    this.#session.pause();
  }

  resume(): void {
    this.#session.resume();
  }

  close(code: CloseCode, _reason: string): void {
    if (this.#state === "pending") {
      // A client that receives the reason does not reconnect. A client that may reconnect is cut off instead, unless
      // that would affect other namespaces.
      if (willPass(this.#refusal) && this.#session.members.size <= 1) this.#session.close();
      this.#admit(this.#refusal);
    } else if (this.#state === "joined" && isForGood(code)) this.#membership.dismiss();
    else if (this.#state !== "over") this.#session.close();
    this.#state = "over";
  }

  terminate(): void {
    this.left();
    this.#session.destroy();
  }

  #admit(refusal: ErrorMessage | null): void {
    if (this.#state !== "pending") return;
    this.#state = refusal === null ? "admitted" : "over";
    this.#membership.admit(refusal);
  }
}

/** [5] The range of a close code decides whether reconnecting is useless. */
function isForGood(code: CloseCode): boolean {
  return code >= 4_400 || code === CLOSE_CODES.bug || code === CLOSE_CODES.tooLarge;
}
