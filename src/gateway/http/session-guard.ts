/**
 * Limits the connections of HTTP/2. One of them carries many calls, so limits on sockets alone would not bound the work
 * that a client can ask for: calls in progress, new calls per second, and requests that never end are limited here.
 */
import type {
  Http2SecureServer,
  Http2Server,
  Http2ServerRequest,
  Http2Session,
  ServerHttp2Stream,
} from "node:http2";
import { constants } from "node:http2";
import type { Socket } from "node:net";
import { type GuardParts, guarded, runGuarded } from "../../metrics/guard.ts";
import { RateLimit } from "../connection/rate-limit.ts";
import { admitFirst } from "./admit-first.ts";
import type { CountedSocket, OpenSockets } from "./open-sockets.ts";
import type { SocketRefusal } from "./socket-guard.ts";

/** How often connections are checked against the time limits, in milliseconds. */
const CHECK_MS = 1_000;

/** The limits, counters and log of a session guard. Times are in milliseconds. */
export interface SessionGuardParts {
  readonly guard: GuardParts;
  readonly sockets: OpenSockets;
  /** Until the first call has begun. */
  readonly headersTimeoutMs: number;
  /** From the headers of a call to the end of its request. */
  readonly requestTimeoutMs: number;
  /** Without a call. */
  readonly idleTimeoutMs: number;
  /** Between two pings of a connection that has calls. */
  readonly heartbeatMs: number;
  /**
   * From a ping to its answer, and without progress of an answer that was written to its end. Both wait behind data that
   * the client has not read.
   */
  readonly answerTimeoutMs: number;
  /** New calls of one connection, per second and at once. A trusted proxy carries many clients and has no such limit. */
  readonly callsPerSecond: number;
  readonly callBurst: number;
  readonly onRefused: (reason: SocketRefusal) => void;
}

/** A call in progress. */
class OpenCall {
  readonly stream: ServerHttp2Stream;
  readonly sinceMs: number;
  /** Whether its request has not arrived completely. */
  isArriving = true;
  /** Bytes of the finished answer that the client's windows had not taken at the last check; `null` before its end. */
  #leftBytes: number | null = null;
  #progressAtMs = 0;

  constructor(stream: ServerHttp2Stream, nowMs: number) {
    this.stream = stream;
    this.sinceMs = nowMs;
  }

  /** Whether only the client keeps the call open, because it has not taken the rest of the answer. */
  get isAnswered(): boolean {
    return this.#leftBytes !== null;
  }

  /**
   * How long the client has taken nothing of the finished answer, in milliseconds. Before its end: 0. Node shows the
   * progress of whole writes only, and less than 16 KiB are left when the library ends an answer.
   */
  stalledMs(nowMs: number): number {
    const { writableEnded, writableLength } = this.stream;
    if (!writableEnded) return 0;
    if (this.#leftBytes !== writableLength) this.#progressAtMs = nowMs;
    this.#leftBytes = writableLength;
    return nowMs - this.#progressAtMs;
  }
}

/** One accepted socket, with its connection of HTTP/2 once that has begun. */
class Watched {
  readonly socket: Socket;
  readonly peer: string;
  readonly counted: CountedSocket;
  readonly acceptedAtMs: number;
  /** Calls in progress. */
  readonly open = new Set<OpenCall>();
  readonly calls: RateLimit | null;
  session: Http2Session | null = null;
  hasCalled = false;
  idleSinceMs: number;
  pingAtMs: number;
  answerByMs = Number.POSITIVE_INFINITY;

  constructor(socket: Socket, counted: CountedSocket, calls: RateLimit | null, nowMs: number) {
    this.socket = socket;
    this.peer = peerOf(socket);
    this.counted = counted;
    this.calls = calls;
    this.acceptedAtMs = nowMs;
    this.idleSinceMs = nowMs;
    this.pingAtMs = nowMs;
  }

  /** Whether only the client keeps its calls open, because it has not taken the rest of the answers. */
  get isAnswered(): boolean {
    for (const call of this.open) if (!call.isAnswered) return false;
    return true;
  }

  destroy(code: number): void {
    if (this.session === null) this.socket.destroy();
    else this.session.destroy(undefined, code);
  }
}

/** Counts every accepted socket, and closes connections that pass a limit. */
export class SessionGuard {
  readonly #parts: SessionGuardParts;
  readonly #watched = new Map<string, Watched>();
  /** Those for whose clients nothing is done, the longest idle first. */
  readonly #idle = new Set<Watched>();
  readonly #checker: NodeJS.Timeout;
  /** Everything that had arrived at the check before has been read since. */
  #checkedAtMs = Date.now();

  constructor(server: Http2Server | Http2SecureServer, parts: SessionGuardParts) {
    this.#parts = parts;
    const { guard } = parts;
    parts.sockets.evictFrom({
      idleSinceMs: () => this.#longestIdle?.idleSinceMs ?? null,
      evict: () => this.#evict(),
    });
    admitFirst(server, guard, "session.accept", (socket: Socket) => this.#admit(socket, Date.now()));
    server.on("session", (session) => {
      const begin = () => this.#begin(session);
      runGuarded(guard, "session.begin", begin, () => session.destroy());
    });
    const late = (error: Error) => {
      if ("code" in error && error.code === "ERR_TLS_HANDSHAKE_TIMEOUT") parts.onRefused("tls-timeout");
    };
    server.on("tlsClientError", guarded(guard, "session.tls-error", late));
    // An error of a connection ends it, and its clients are noticed by their calls.
    server.on("sessionError", () => {});
    const check = guarded(guard, "session.check", () => this.#check(Date.now()));
    this.#checker = setInterval(check, CHECK_MS).unref();
  }

  /**
   * Notes a call, before it is answered.
   * @returns `false` if its connection was closed, because it has begun too many calls.
   */
  called(request: Http2ServerRequest, nowMs = Date.now()): boolean {
    const watched = this.#watched.get(peerOf(request.socket));
    if (watched === undefined) return false;
    if (watched.calls?.take(1, nowMs) === false) {
      this.#parts.onRefused("call-rate");
      watched.destroy(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      return false;
    }
    watched.hasCalled = true;
    const call = new OpenCall(request.stream, nowMs);
    watched.open.add(call);
    this.#idle.delete(watched);
    const { guard } = this.#parts;
    const arrived = guarded(guard, "session.arrived", () => {
      call.isArriving = false;
    });
    const ended = guarded(guard, "session.ended", () => {
      watched.open.delete(call);
      const isConnected = this.#watched.get(watched.peer) === watched;
      if (isConnected && watched.open.size === 0) this.#becameIdle(watched, Date.now());
    });
    request.once("end", arrived);
    request.stream.once("close", ended);
    return true;
  }

  /** Lets calls in progress go on, and tells clients to make new ones elsewhere. The time limits remain in force. */
  closeGently(): void {
    for (const { session, socket } of this.#watched.values()) {
      if (session === null) socket.destroy();
      else session.close();
    }
  }

  /** Ends all connections at once. */
  destroyAll(): void {
    clearInterval(this.#checker);
    for (const watched of [...this.#watched.values()]) watched.destroy(constants.NGHTTP2_NO_ERROR);
  }

  #admit(socket: Socket, nowMs: number): boolean {
    const { sockets, onRefused, callsPerSecond, callBurst } = this.#parts;
    const { remoteAddress } = socket;
    const counted = sockets.admit(remoteAddress);
    if (typeof counted === "string") {
      onRefused(counted);
      socket.destroy();
      return false;
    }
    const calls = counted.isOfProxy ? null : new RateLimit(callsPerSecond, callBurst, nowMs);
    const watched = new Watched(socket, counted, calls, nowMs);
    this.#watched.set(watched.peer, watched);
    this.#idle.add(watched);
    const closed = () => this.#forget(watched);
    socket.on("close", guarded(this.#parts.guard, "session.socket", closed));
    return true;
  }

  #forget(watched: Watched): void {
    watched.counted.release();
    this.#idle.delete(watched);
    // Ports are reused, so the entry may belong to a newer socket by now.
    if (this.#watched.get(watched.peer) === watched) this.#watched.delete(watched.peer);
  }

  #begin(session: Http2Session): void {
    const watched = this.#watched.get(peerOf(session.socket));
    if (watched === undefined) session.destroy();
    else watched.session = session;
  }

  /** Closes the connection that has been idle for the longest time. */
  #evict(): void {
    const watched = this.#longestIdle;
    if (watched === undefined) return;
    this.#parts.onRefused("evicted");
    this.#forget(watched);
    watched.destroy(constants.NGHTTP2_NO_ERROR);
  }

  get #longestIdle(): Watched | undefined {
    const [longest] = this.#idle;
    return longest;
  }

  #becameIdle(watched: Watched, nowMs: number): void {
    watched.idleSinceMs = nowMs;
    this.#idle.delete(watched);
    this.#idle.add(watched);
  }

  #check(nowMs: number): void {
    const readMs = this.#checkedAtMs;
    this.#checkedAtMs = nowMs;
    for (const watched of [...this.#watched.values()]) {
      const check = () => this.#checkOne(watched, nowMs, readMs);
      runGuarded(this.#parts.guard, "session.check", check, () => watched.socket.destroy());
    }
  }

  #checkOne(watched: Watched, nowMs: number, readMs: number): void {
    const { headersTimeoutMs, requestTimeoutMs, idleTimeoutMs, answerTimeoutMs, onRefused } = this.#parts;
    if (!watched.hasCalled && readMs - watched.acceptedAtMs >= headersTimeoutMs) {
      onRefused("request-timeout");
      watched.destroy(constants.NGHTTP2_NO_ERROR);
      return;
    }
    for (const call of watched.open) {
      // An answer that the client does not take would otherwise keep its call for ever, even without a token.
      if (call.stalledMs(readMs) >= answerTimeoutMs) {
        onRefused("inactive");
        call.stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      } else if (call.isArriving && readMs - call.sinceMs >= requestTimeoutMs) {
        onRefused("request-timeout");
        call.stream.close(constants.NGHTTP2_CANCEL);
      }
    }
    if (watched.open.size > 0) {
      if (watched.isAnswered && !this.#idle.has(watched)) this.#becameIdle(watched, nowMs);
      this.#ping(watched, nowMs, readMs);
    } else if (nowMs - watched.idleSinceMs >= idleTimeoutMs) watched.session?.close();
  }

  /** A client whose host has vanished answers no ping, and nothing else would show that it has. */
  #ping(watched: Watched, nowMs: number, readMs: number): void {
    const { heartbeatMs, answerTimeoutMs, onRefused, guard } = this.#parts;
    const { session } = watched;
    if (readMs >= watched.answerByMs) {
      onRefused("inactive");
      watched.destroy(constants.NGHTTP2_NO_ERROR);
      return;
    }
    if (session === null || nowMs < watched.pingAtMs || watched.answerByMs !== Number.POSITIVE_INFINITY)
      return;
    watched.pingAtMs = nowMs + heartbeatMs;
    watched.answerByMs = nowMs + answerTimeoutMs;
    const answered = guarded(guard, "session.ping", (error: Error | null) => {
      if (error === null) watched.answerByMs = Number.POSITIVE_INFINITY;
    });
    session.ping(answered);
  }
}

/** The same string for a TCP socket and for the TLS socket on top of it, which are two objects. */
const peerOf = ({ remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">) =>
  `${remoteAddress} ${remotePort}`;
