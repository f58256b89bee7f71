/**
 * Closes sockets of a listener that are too many, or that never send a complete request. Such sockets cost nothing to
 * open and hold a file descriptor each, so without a limit a single machine could exhaust the node.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Server as TlsServer } from "node:https";
import type { Socket } from "node:net";
import { type GuardParts, guarded, runGuarded, sharedGuarded } from "../../metrics/guard.ts";
import { admitFirst } from "./admit-first.ts";
import type { CountedSocket, OpenSockets, SocketLimitReached } from "./open-sockets.ts";

/** Why a socket was closed; the label of `tidewire_sockets_refused_total`. */
export type SocketRefusal =
  | SocketLimitReached
  | "evicted"
  | "request-timeout"
  | "tls-timeout"
  | "inactive"
  | "pipelining"
  | "call-rate";

/** The limits, counters and log of a socket guard. */
export interface SocketGuardParts {
  readonly guard: GuardParts;
  readonly sockets: OpenSockets;
  /** How many answers of one socket may be in progress. */
  readonly answersMax: number;
  readonly onRefused: (reason: SocketRefusal) => void;
}

/** One accepted socket. */
class Watched {
  readonly socket: Socket;
  readonly peer: string;
  readonly counted: CountedSocket;
  idleSinceMs: number;
  /**
   * Answers that have not ended; `null` if there were none. All but the first wait for the one before them. A WebSocket
   * has none.
   */
  #answering: Set<ServerResponse> | null = null;

  constructor(socket: Socket, peer: string, counted: CountedSocket, nowMs: number) {
    this.socket = socket;
    this.peer = peer;
    this.counted = counted;
    this.idleSinceMs = nowMs;
  }

  get answering(): ReadonlySet<ServerResponse> {
    return this.#answering ?? NO_ANSWERS;
  }

  begin(response: ServerResponse): void {
    this.#answering ??= new Set();
    this.#answering.add(response);
  }

  end(response: ServerResponse): void {
    this.#answering?.delete(response);
  }
}

const NO_ANSWERS: ReadonlySet<ServerResponse> = new Set();

/** The entry of a socket. */
const WATCHED = Symbol("watched");

type WatchedSocket = Socket & { [WATCHED]?: Watched };

/**
 * Counts every accepted socket, and closes those over a limit before TLS or HTTP sees them. When the total is exceeded,
 * the longest idle socket of all listeners is closed, so that silent sockets keep nobody out.
 */
export class SocketGuard {
  readonly #parts: SocketGuardParts;
  readonly #watched = new Map<string, Watched>();
  /** Sockets without a request in progress, the longest idle first. */
  readonly #idle = new Map<string, Watched>();
  /** One listener for all sockets. */
  readonly #onClose: (this: Socket) => void;

  constructor(server: Server | TlsServer, parts: SocketGuardParts) {
    this.#parts = parts;
    this.#onClose = sharedGuarded(
      () => parts.guard,
      "socket.close",
      ({ [WATCHED]: watched }: WatchedSocket) => watched !== undefined && this.#forget(watched),
    );
    parts.sockets.evictFrom({
      idleSinceMs: () => this.#longestIdle?.idleSinceMs ?? null,
      evict: () => this.#evict(),
    });
    admitFirst(server, parts.guard, "socket.accept", (socket: Socket) => this.#admit(socket));
    // Before the listener that answers, because that one checks whether the socket was closed here.
    server.prependListener("request", (request, response) => {
      const answer = () => this.#answer(request, response);
      runGuarded(parts.guard, "socket.request", answer, () => response.destroy());
    });
    // Node emits the error of a handshake as both events.
    const count = (code: string, reason: SocketRefusal) => (error: Error) => {
      if (codeOf(error) === code) parts.onRefused(reason);
    };
    const late = count("ERR_HTTP_REQUEST_TIMEOUT", "request-timeout");
    server.on("clientError", guarded(parts.guard, "socket.client-error", late));
    const lateTls = count("ERR_TLS_HANDSHAKE_TIMEOUT", "tls-timeout");
    server.on("tlsClientError", guarded(parts.guard, "socket.tls-error", lateTls));
    const inactive = (socket: Socket) => {
      // Also emitted when a kept-alive socket has sent no further request, which is ordinary.
      if (!this.#idle.has(peerOf(socket))) parts.onRefused("inactive");
      // Node closes the socket only if nothing listens to this event.
      socket.destroy();
    };
    server.on("timeout", guarded(parts.guard, "socket.timeout", inactive));
  }

  /** An upgraded socket belongs to a connection, which has its own time limits. */
  upgraded(request: IncomingMessage): void {
    this.#idle.delete(peerOf(request.socket));
  }

  #admit(socket: WatchedSocket): boolean {
    const { sockets, onRefused } = this.#parts;
    const counted = sockets.admit(socket.remoteAddress);
    if (typeof counted === "string") {
      onRefused(counted);
      socket.destroy();
      return false;
    }
    const peer = peerOf(socket);
    const watched = new Watched(socket, peer, counted, Date.now());
    socket[WATCHED] = watched;
    this.#watched.set(peer, watched);
    this.#idle.set(peer, watched);
    socket.on("close", this.#onClose);
    return true;
  }

  #forget(watched: Watched): void {
    const { peer } = watched;
    watched.counted.release();
    // Ports are reused, so the entry may belong to a newer socket by now.
    if (this.#watched.get(peer) === watched) this.#watched.delete(peer);
    if (this.#idle.get(peer) === watched) this.#idle.delete(peer);
    if (watched.answering.size === 0) return;
    const close = () => closeQueued(watched.answering);
    setImmediate(guarded(this.#parts.guard, "socket.queued", close));
  }

  /** Closes the longest idle socket. */
  #evict(): void {
    const watched = this.#longestIdle;
    if (watched === undefined) return;
    this.#parts.onRefused("evicted");
    this.#forget(watched);
    watched.socket.destroy();
  }

  get #longestIdle(): Watched | undefined {
    const [longest] = this.#idle.values();
    return longest;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const peer = peerOf(request.socket);
    const watched = this.#watched.get(peer);
    if (watched === undefined || watched.socket.destroyed) return;
    if (watched.answering.size >= this.#parts.answersMax) {
      this.#parts.onRefused("pipelining");
      request.socket.destroy();
      watched.socket.destroy();
      return;
    }
    watched.begin(response);
    this.#idle.delete(peer);
    const answered = () => {
      watched.end(response);
      const isOpen = this.#watched.get(peer) === watched && !watched.socket.destroyed;
      if (!isOpen || watched.answering.size > 0) return;
      watched.idleSinceMs = Date.now();
      this.#idle.set(peer, watched);
    };
    response.once("close", guarded(this.#parts.guard, "socket.answered", answered));
  }
}

/**
 * Ends the answers that never received the socket. Node 20 emits `close` only for the answer that has the socket, so
 * the connections behind pipelined requests would stay counted, and their memory would never be freed.
 */
function closeQueued(responses: ReadonlySet<ServerResponse>): void {
  for (const response of [...responses]) {
    if (response.socket !== null) continue;
    response.destroy();
    response.emit("close");
  }
}

/** The same string for a TCP socket and for the TLS socket on top of it, which are two objects. */
const peerOf = ({ remoteAddress, remotePort }: Socket) => `${remoteAddress} ${remotePort}`;

const codeOf = (error: Error): unknown => ("code" in error ? error.code : undefined);
