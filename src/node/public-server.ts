import type { RequestListener, Server } from "node:http";
import { answerNotFound } from "../admin/admin-server.ts";
import { answerJson } from "../admin/answer-json.ts";
import { HealthRoutes } from "../admin/health.ts";
import type { Readiness } from "../admin/readiness.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { createGrpcListener, type GrpcListener } from "../gateway/http/grpc-listener.ts";
import { HostNames, UNKNOWN_HOST_TEXT } from "../gateway/http/host-names.ts";
import { closeServer, createPublicServer } from "../gateway/http/listener.ts";
import type { OpenSockets } from "../gateway/http/open-sockets.ts";
import type { PushRoutes } from "../push/push-routes.ts";
import type { Basics } from "./basics.ts";

/**
 * Builds the server for clients; it does not listen yet.
 * @param push `null` without push registrations.
 * @param sockets Counts the sockets of all listeners for clients.
 */
export function buildPublicServer(
  { config: { server, limits }, log, metrics, onStop, extraRoutes }: Basics,
  gateway: Gateway,
  readiness: () => Readiness,
  push: PushRoutes | null,
  sockets: OpenSockets,
): Server {
  const hosts = server.hosts === undefined ? null : new HostNames(server.hosts);
  const health = new HealthRoutes(readiness, { log, metrics });
  const answer: RequestListener = (request, response) => {
    // Probes ask by whatever name or address they know.
    if (health.answer(request, response, false)) return;
    if (hosts?.includes(request.headers.host) === false) {
      gateway.noteRefusal("host", request);
      return answerJson(response, 421, { error: UNKNOWN_HOST_TEXT });
    }
    if (gateway.endpoints.answer(request, response) || push?.answer(request, response) === true) return;
    if (extraRoutes(request, response)) return;
    const ways = push === null ? "/v1/poll and /v1/key" : "/v1/poll, /v1/key and /v1/push";
    answerNotFound(response, `there are /v1/ws, /v1/sse, ${ways} here`);
  };
  const publicServer = createPublicServer({ server, limits, sockets, metrics, log }, answer);
  gateway.countBytesOf(publicServer);
  gateway.endpoints.follow(publicServer);
  onStop(async () => closeServer(publicServer));
  return publicServer;
}

/**
 * Builds the listener for gRPC; it does not listen yet.
 * @param sockets Counts the sockets of all listeners for clients.
 * @returns `null` if gRPC is not served.
 */
export function buildGrpcListener(
  { config: { server, limits }, log, metrics, onStop }: Basics,
  gateway: Gateway,
  sockets: OpenSockets,
): GrpcListener | null {
  if (server.grpc === undefined) return null;
  const hosts = server.hosts === undefined ? null : new HostNames(server.hosts);
  const listener = createGrpcListener(
    { server, limits, sockets, metrics, log },
    server.grpc,
    (request, response) => {
      // A client of HTTP/2 sends the name in a field of its own.
      if (hosts?.includes(request.authority) === false) {
        gateway.noteRefusal("host", request);
        response.writeHead(421, { "Content-Type": "application/json" });
        response.end(JSON.stringify({ error: UNKNOWN_HOST_TEXT }));
      } else if (!gateway.endpoints.answerCall(request, response)) response.writeHead(404).end();
    },
  );
  gateway.countBytesOf(listener.server);
  onStop(async () => listener.close());
  return listener;
}
