/**
 * The HTTP servers. Everything before the first complete request is unauthenticated, so sockets, headers, idle times
 * and pipelined requests are limited here.
 */
import { once } from "node:events";
import {
  createServer,
  type IncomingMessage,
  maxHeaderSize,
  type RequestListener,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { AddressInfo, Server as NetServer } from "node:net";
import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import { type GuardParts, guarded, runGuarded } from "../../metrics/guard.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import type { GatewayLimits } from "../limits.ts";
import type { ServerOptions } from "../options.ts";
import type { TlsOptions } from "../tls-options.ts";
import { TrustedProxies } from "./client-network.ts";
import { socketsByFileLimit } from "./file-limit.ts";
import { OpenSockets, type SocketLimits } from "./open-sockets.ts";
import { SocketGuard } from "./socket-guard.ts";
import { followCertificate, readCertificate } from "./tls-files.ts";

/** The address of a listener. */
export interface Listening {
  readonly host: string;
  readonly port: number;
}

/**
 * How often sockets are checked against the time limits of requests, in milliseconds. Node's default of 30 s would add
 * to these limits.
 */
const CHECK_MS = 1_000;
/** A socket that was answered and sends no further request is closed after this time, in milliseconds. */
const KEEP_ALIVE_MS = 5_000;
/** The longest time that a poll waits for a change, in milliseconds. Its socket is silent meanwhile. */
const POLL_WAIT_MS = 60_000;
/**
 * Connections that the kernel queues before they are accepted, because thousands may return within a second. The kernel
 * has its own limit in addition.
 */
const BACKLOG = 4_096;

/** The admin listener has few clients, often all from one address. */
const ADMIN_SOCKETS: SocketLimits = { total: 128, perAddress: Number.POSITIVE_INFINITY };
/** How many answers one socket of the admin listener may wait for. */
const ADMIN_ANSWERS = 16;

/** The options, limits and counters of the public listener. */
export interface PublicServerParts {
  readonly server: ServerOptions;
  readonly limits: GatewayLimits;
  /** Counts the sockets of all listeners for clients. */
  readonly sockets: OpenSockets;
  readonly metrics: Pick<Metrics, "sockets" | "socketsRefused" | "onScrape" | "unexpectedErrors">;
  readonly log: Logger;
}

/** Makes the count of sockets that all listeners for clients share. */
export const openSocketsOf = (limits: GatewayLimits, { trustedProxies }: ServerOptions): OpenSockets =>
  new OpenSockets(socketLimitsOf(limits), new TrustedProxies(trustedProxies));

/** How many sockets one process accepts. */
export function socketLimitsOf({
  sockets,
  socketsPerAddress,
  connectionsPerAddress,
}: GatewayLimits): SocketLimits {
  return {
    total: sockets ?? socketsByFileLimit(),
    perAddress: socketsPerAddress ?? Math.ceil(connectionsPerAddress * 1.5),
  };
}

/** Makes the public listener, plain or TLS, with its limits on sockets. */
export function createPublicServer(parts: PublicServerParts, onRequest: RequestListener): Server {
  const { server: options, limits, sockets, metrics } = parts;
  const listener: RequestListener = (request, response) => {
    // The socket was closed because of too many requests. Node still parses the requests that arrived in the same
    // packet.
    if (request.socket.destroyed) return;
    const answer = () => onRequest(request, response);
    runGuarded(parts, "http.request", answer, () => response.destroy());
  };
  const server =
    options.tls === undefined
      ? createServer(timeLimitsOf(options), listener)
      : createSecureServer(options.tls, options, listener, parts);
  // Longer than every ordinary silence. Otherwise a peer that reads nothing of its answer would keep the socket for
  // ever.
  server.timeout = 2 * Math.max(limits.stallTimeoutMs, options.sseCommentMs, POLL_WAIT_MS) + 60_000;
  const guard = new SocketGuard(server, {
    sockets,
    guard: parts,
    answersMax: limits.requestsPerSocket,
    onRefused: (reason) => metrics.socketsRefused.inc({ reason }),
  });
  metrics.onScrape("sockets", () => metrics.sockets.set(sockets.count));
  const upgraded = (request: IncomingMessage) => guard.upgraded(request);
  server.on("upgrade", guarded(parts, "socket.upgraded", upgraded));
  answerClientErrors(server, parts, "http.client-error");
  allowForBusyTimes(server, options, parts);
  return server;
}

/** Makes a plain listener for admins, with the same time limits and few sockets. */
export function createSmallServer(
  options: ServerOptions,
  onRequest: RequestListener,
  guard: { readonly log: Logger; readonly metrics: Pick<Metrics, "socketsRefused" | "unexpectedErrors"> },
): Server {
  const { socketsRefused } = guard.metrics;
  const server = createServer(timeLimitsOf(options), (request, response) => {
    if (request.socket.destroyed) return;
    const answer = () => onRequest(request, response);
    runGuarded(guard, "admin.request", answer, () => response.destroy());
  });
  server.timeout = 2 * POLL_WAIT_MS;
  new SocketGuard(server, {
    sockets: new OpenSockets(ADMIN_SOCKETS, null),
    guard,
    answersMax: ADMIN_ANSWERS,
    onRefused: (reason) => socketsRefused.inc({ reason }),
  });
  answerClientErrors(server, guard, "admin.client-error");
  allowForBusyTimes(server, options, guard);
  return server;
}

const timeLimitsOf = ({ headersTimeoutMs, requestTimeoutMs }: ServerOptions) => ({
  headersTimeout: headersTimeoutMs,
  requestTimeout: requestTimeoutMs,
  connectionsCheckingInterval: CHECK_MS,
  keepAliveTimeout: KEEP_ALIVE_MS,
});

/**
 * Extends the time limits of requests by the time since the check before. A process that was busy or frozen finds the
 * requests of its clients after its timers, so a request is late only if its time was over when all that had arrived by then
 * was read.
 */
function allowForBusyTimes(server: Server, options: ServerOptions, guard: GuardParts): void {
  let checkedAtMs = performance.now();
  const extend = guarded(guard, "http.time-limits", () => {
    const nowMs = performance.now();
    const busyMs = nowMs - checkedAtMs;
    checkedAtMs = nowMs;
    server.headersTimeout = options.headersTimeoutMs + busyMs;
    server.requestTimeout = options.requestTimeoutMs + busyMs;
  });
  // Node begins its own checks when the server listens. Timers of one interval run in the order in which they began.
  const timer = setInterval(extend, CHECK_MS).unref();
  const end = guarded(guard, "http.time-limits", () => clearInterval(timer));
  server.once("close", end);
}

/** The answers to data that is no valid HTTP request, by the error of Node's parser. */
const CLIENT_ERRORS: Readonly<Record<string, readonly [status: number, text: string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, "the request did not arrive in time"],
  HPE_HEADER_OVERFLOW: [
    431,
    `the headers are larger than ${maxHeaderSize / 1_024} KiB: shorten the token, or clear the cookies of this site`,
  ],
};
const MALFORMED = [400, "this is no HTTP request that the service understands"] as const;
/**
 * How long a client may continue to send after such an answer, in milliseconds. Closing at once would reset the
 * connection, and the client would lose the answer.
 */
const LINGER_MS = 1_000;

function answerClientErrors(server: Server, guard: GuardParts, where: string): void {
  /** Node reports an error for each further packet of a client that was answered. */
  const answered = new WeakSet<Duplex>();
  const answers = new WeakMap<Duplex, ServerResponse>();
  const begin = (request: IncomingMessage, response: ServerResponse) => {
    answers.set(request.socket, response);
  };
  server.on("request", guarded(guard, where, begin));
  const answer = (error: NodeJS.ErrnoException, socket: Duplex) => {
    if (answered.has(socket)) return;
    const end = () => socket.destroy();
    const current = answers.get(socket);
    // A text within another answer, such as a stream, would become part of that one.
    const isWithin = current?.headersSent === true && !current.writableEnded;
    if (!socket.writable || isWithin || error.code === "ECONNRESET") {
      end();
      return;
    }
    answered.add(socket);
    socket.end(answerTo(error));
    socket.resume();
    setTimeout(guarded(guard, where, end), LINGER_MS).unref();
  };
  server.on("clientError", guarded(guard, where, answer));
}

function answerTo(error: NodeJS.ErrnoException): string {
  const [status, message] = CLIENT_ERRORS[error.code ?? ""] ?? MALFORMED;
  const body = JSON.stringify({ code: "bad-request", message });
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
  ];
  return `${head.join("\r\n")}\r\n\r\n${body}`;
}

/** Makes a TLS server for HTTP/1.1. */
function createSecureServer(
  tls: TlsOptions,
  options: ServerOptions,
  onRequest: RequestListener,
  guard: GuardParts,
): TlsServer {
  const server = createTlsServer(
    {
      ...readCertificate(tls),
      ...timeLimitsOf(options),
      handshakeTimeout: options.tlsHandshakeTimeoutMs,
    },
    onRequest,
  );
  followCertificate(server, tls, guard);
  return server;
}

/**
 * Starts listening.
 * @throws The system's error, such as a port in use.
 */
export async function listen(server: NetServer, { host, port }: Listening): Promise<Listening> {
  server.listen({ port, host, backlog: BACKLOG });
  await once(server, "listening");
  // A TCP server has an address once it listens.
  const address = server.address() as AddressInfo;
  return { host: address.address, port: address.port };
}

/** Stops listening and closes the remaining sockets, except upgraded ones, which the gateway closes. */
export function closeServer(server: Server): void {
  server.close();
  server.closeAllConnections();
}
