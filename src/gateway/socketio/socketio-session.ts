import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Socket as IoSocket } from "socket.io";
import type { WebSocket } from "ws";
import type { SharedCompression } from "../../feed/shared-compression.ts";
import { type GuardParts, guarded } from "../../metrics/guard.ts";
import { CLOSE_CODES } from "../../protocol/close-codes.ts";
import type { GatewayContext } from "../context.ts";
import { ControlFrames } from "../transports/control-frames.ts";
import { takenBytesOf } from "../transports/taken-bytes.ts";
import { NO_CLOSE_FRAME } from "../transports/ws.ts";
import { agreedCompression } from "../transports/ws-compression.ts";

/** A client that does not finish closing keeps its session no longer than this, in milliseconds. */
const CLOSE_TIMEOUT_MS = 2_000;

type Engine = IoSocket["conn"];

/** One packet of the engine, in the form of its events. */
interface EnginePacket {
  readonly type?: string;
  readonly data?: unknown;
  readonly options?: { readonly bytes?: number } | undefined;
}

/** A packet ready to be written. `options` contain the WebSocket frame if it was made once for many clients. */
export interface WirePacket {
  readonly text: string;
  readonly options: {
    compress: boolean;
    /** Size of the text. */
    readonly bytes: number;
    readonly wsPreEncodedFrame?: readonly Buffer[];
  };
}

/** A client in one of the session's namespaces. */
export interface SocketIoMember {
  heard(): void;
  ended(code: number): void;
}

/**
 * One Engine.IO session: the connection under all the namespaces that a client has joined, by polls or a WebSocket. It
 * counts the waiting data, which the library does not bound by itself.
 */
export class SocketIoSession {
  readonly address: string;
  readonly members = new Set<SocketIoMember>();
  #hasJoined = false;
  #hasTriedUpgrade = false;
  readonly #engine: Engine;
  readonly #guard: GuardParts;
  readonly #compression: SharedCompression | null;
  /** Under a WebSocket, and while the client changes to one. */
  #socket: Socket | undefined;
  #nextSocket: Socket | undefined;
  #poll: ServerResponse | undefined;
  readonly #polls = new Set<ServerResponse>();
  #writtenBytes = 0;
  #drainedBytes = 0;
  /** Sizes of the batches that the engine has passed to its transport, in bytes. */
  readonly #batches: number[] = [];
  #waiting: { readonly atBytes: number; readonly resolve: () => void }[] = [];
  #pauses = 0;
  #heldPost: (() => void) | undefined;

  constructor(engine: Engine, address: string, context: GatewayContext) {
    this.#engine = engine;
    this.#guard = context;
    this.#compression = context.compression;
    this.address = address;
    if (engine.transport.name === "websocket") this.#socket = engine.request.socket;
    const created = (packet: EnginePacket) => {
      this.#writtenBytes += sizeOf(packet);
    };
    const flushed = (packets: readonly EnginePacket[]) => {
      this.#batches.push(packets.reduce((sum, packet) => sum + sizeOf(packet), 0));
    };
    const upgraded = (transport: Engine["transport"]) => {
      this.#socket = this.#nextSocket;
      if (this.#pauses > 0) this.#socket?.pause();
      this.#follow(transport);
    };
    const frames = new ControlFrames(context, Date.now());
    const heard = (packet: EnginePacket) => {
      if (!isCharged(packet) && !frames.take(Date.now())) this.destroy();
      for (const member of this.members) member.heard();
    };
    // The protocol has no binary messages, and the library would keep such parts until the last one has arrived.
    const refuseBinary = (data: unknown) => {
      if (typeof data !== "string") this.destroy();
    };
    engine.on("packetCreate", this.guarded("socketio.packet-create", created));
    engine.on("flush", this.guarded("socketio.flush", flushed));
    engine.on("upgrade", this.guarded("socketio.upgraded", upgraded));
    engine.on("packet", this.guarded("socketio.packet", heard));
    engine.prependListener("data", this.guarded("socketio.data", refuseBinary));
    engine.once(
      "close",
      this.guarded("socketio.close", (reason: string) => this.#closed(reason)),
    );
    this.#follow(engine.transport);
  }

  /** Wraps a listener or a timer of this session. An unexpected error ends the session. */
  guarded<A extends readonly unknown[]>(where: string, run: (...args: A) => unknown): (...args: A) => void {
    return guarded(this.#guard, where, run, () => this.destroy());
  }

  /** Whether the client has already opened a WebSocket to continue on. A client does so once. */
  get hasTriedUpgrade(): boolean {
    return this.#hasTriedUpgrade;
  }

  /**
   * The client asks for a namespace.
   * @returns Whether it had asked for one before, admitted or not.
   */
  joinAgain(): boolean {
    const isAgain = this.#hasJoined;
    this.#hasJoined = true;
    return isAgain;
  }

  get isOpen(): boolean {
    return this.#engine.readyState === "open";
  }

  get bufferedBytes(): number {
    return this.#writtenBytes - this.#drainedBytes;
  }

  /** Compresses what the client receives; `null` under polls, and for a client that has not agreed to it. */
  get compression(): SharedCompression | null {
    const { name } = this.#engine.transport;
    if (name !== "websocket" || this.#compression === null) return null;
    // The engine's own type hides the WebSocket of its transport.
    const { socket } = this.#engine.transport as unknown as { readonly socket?: WebSocket };
    return socket === undefined ? null : agreedCompression(socket, this.#compression);
  }

  get takenBytes(): number {
    const socket = this.#socket ?? this.#poll?.socket;
    return this.#drainedBytes + (socket === null || socket === undefined ? 0 : takenBytesOf(socket));
  }

  write({ text, options }: WirePacket): void {
    this.#engine.write(text, options);
  }

  /** Settles when everything written so far was taken, or the session has ended. */
  flushed(): Promise<void> {
    if (this.bufferedBytes === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ atBytes: this.#writtenBytes, resolve }));
  }

  /** The client waits on this request until something is written. */
  polledBy(response: ServerResponse): void {
    this.#poll = response;
    this.#polls.add(response);
    response.once(
      "close",
      this.guarded("socketio.poll", () => this.#polls.delete(response)),
    );
  }

  /** The WebSocket on which the session continues after the client has probed it. The engine refuses a second one. */
  willUpgradeTo(socket: Socket): void {
    this.#hasTriedUpgrade = true;
    if (!this.#engine.upgrading && !this.#engine.upgraded) this.#nextSocket = socket;
  }

  /**
   * Passes on a request with packets of the client. If the client had too much unread data, the request waits until it
   * has read.
   */
  take(post: () => void): void {
    if (this.#pauses === 0) post();
    // No client sends a second one before the first is answered.
    else if (this.#heldPost !== undefined) this.destroy();
    else this.#heldPost = post;
  }

  pause(): void {
    if (this.#pauses++ === 0) this.#socket?.pause();
  }

  resume(): void {
    if (--this.#pauses > 0) return;
    this.#socket?.resume();
    this.#handOverHeld();
  }

  /** Ends the session in a way after which the library's client reconnects. Waiting data is still sent. */
  close(): void {
    this.#socket?.resume();
    this.#engine.close();
    setTimeout(
      this.guarded("socketio.cut-off", () => this.destroy()),
      CLOSE_TIMEOUT_MS,
    ).unref();
  }

  destroy(): void {
    this.#engine.close(true);
    this.#socket?.destroy();
    this.#nextSocket?.destroy();
  }

  #follow(transport: Engine["transport"]): void {
    const drained = () => {
      const bytes = this.#batches.shift() ?? 0;
      const poll = transport.name === "polling" ? this.#poll : undefined;
      // The library counts an answer as sent while it still waits in our buffers.
      if (poll === undefined || poll.closed) this.#took(bytes);
      else
        poll.once(
          "close",
          this.guarded("socketio.drain", () => this.#took(bytes)),
        );
    };
    transport.on("drain", this.guarded("socketio.drain", drained));
  }

  #handOverHeld(): void {
    const post = this.#heldPost;
    this.#heldPost = undefined;
    post?.();
  }

  #closed(reason: string): void {
    this.#took(this.bufferedBytes);
    this.#handOverHeld();
    // The last answer is still sent, if the client reads it.
    const cutOff = this.guarded("socketio.cut-off", () => {
      for (const response of this.#polls) response.destroy();
    });
    if (this.#polls.size > 0) setTimeout(cutOff, CLOSE_TIMEOUT_MS).unref();
    const code = reason === "ping timeout" ? CLOSE_CODES.noPong : NO_CLOSE_FRAME;
    for (const member of [...this.members]) member.ended(code);
  }

  #took(bytes: number): void {
    this.#drainedBytes = Math.min(this.#drainedBytes + bytes, this.#writtenBytes);
    const isDone = ({ atBytes }: { readonly atBytes: number }) => atBytes <= this.#drainedBytes;
    const done = this.#waiting.filter(isDone);
    if (done.length === 0) return;
    this.#waiting = this.#waiting.filter((waiting) => !isDone(waiting));
    for (const { resolve } of done) resolve();
  }
}

/** Whether the packet is charged elsewhere: an event as a request, and a `CONNECT` as a connection. */
const isCharged = ({ type, data }: EnginePacket): boolean =>
  type === "message" && typeof data === "string" && (data.startsWith("2") || data.startsWith("0"));

/**
 * Size in bytes, as every transport counts. Other packets than text are tiny and count 0. A packet that many clients
 * share was measured once.
 */
const sizeOf = ({ data, options }: EnginePacket): number =>
  options?.bytes ?? (typeof data === "string" ? Buffer.byteLength(data) : 0);
