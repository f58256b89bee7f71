/**
 * The listener for gRPC. It serves HTTP/2 alone, because gRPC needs its trailers and streams: in plain text, where the
 * client knows in advance that the listener serves HTTP/2, or over TLS.
 */
import { maxHeaderSize } from "node:http";
import {
  createSecureServer,
  createServer,
  type ServerOptions as Http2Options,
  type Http2SecureServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2";
import { runGuarded } from "../../metrics/guard.ts";
import type { GrpcOptions } from "../grpc-options.ts";
import type { TlsOptions } from "../tls-options.ts";
import type { PublicServerParts } from "./listener.ts";
import { SessionGuard } from "./session-guard.ts";
import { followCertificate, readCertificate } from "./tls-files.ts";

/** Frames that break the protocol, after which a connection is closed. */
const INVALID_FRAMES = 20;

/** The listener for gRPC, with the connections that it has accepted. */
export interface GrpcListener {
  readonly server: Http2Server | Http2SecureServer;
  /** Stops listening. Calls in progress go on, and clients make new ones elsewhere. */
  drain(): void;
  /** Stops listening, and ends all calls. */
  close(): void;
}

/** Makes the listener for gRPC, with its limits on connections. */
export function createGrpcListener(
  parts: PublicServerParts,
  options: GrpcOptions,
  onRequest: (request: Http2ServerRequest, response: Http2ServerResponse) => void,
): GrpcListener {
  const { server: serverOptions, limits, sockets, metrics } = parts;
  const { tls, idleTimeoutMs } = options;
  const http2: Http2Options = {
    maxSessionInvalidFrames: INVALID_FRAMES,
    unknownProtocolTimeout: serverOptions.headersTimeoutMs,
    settings: {
      maxConcurrentStreams: limits.callsPerSocket,
      // The limit of the public listener.
      maxHeaderListSize: maxHeaderSize,
    },
  };
  const server = tls === undefined ? createServer(http2) : createTlsServer(http2, tls, parts);
  const guard = new SessionGuard(server, {
    guard: parts,
    sockets,
    headersTimeoutMs: serverOptions.headersTimeoutMs,
    requestTimeoutMs: serverOptions.requestTimeoutMs,
    idleTimeoutMs,
    heartbeatMs: serverOptions.heartbeatMs,
    answerTimeoutMs: limits.stallTimeoutMs,
    callsPerSecond: limits.requestsPerSecond,
    callBurst: limits.requestBurst,
    onRefused: (reason) => metrics.socketsRefused.inc({ reason }),
  });
  server.on("request", (request, response) => {
    const answer = () => {
      if (guard.called(request)) onRequest(request, response);
    };
    runGuarded(parts, "grpc.request", answer, () => response.destroy());
  });
  return {
    server,
    drain() {
      server.close();
      guard.closeGently();
    },
    close() {
      server.close();
      guard.destroyAll();
    },
  };
}

function createTlsServer(http2: Http2Options, tls: TlsOptions, parts: PublicServerParts): Http2SecureServer {
  const { tlsHandshakeTimeoutMs: handshakeTimeout } = parts.server;
  const server = createSecureServer({ ...http2, ...readCertificate(tls), handshakeTimeout });
  followCertificate(server, tls, parts);
  return server;
}
