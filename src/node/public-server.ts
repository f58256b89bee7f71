import type { RequestListener, Server } from "node:http";
import { answerNotFound } from "../admin/admin-server.ts";
import { answerJson } from "../admin/answer-json.ts";
import { HealthRoutes } from "../admin/health.ts";
import type { Readiness } from "../admin/readiness.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { HostNames, UNKNOWN_HOST_TEXT } from "../gateway/http/host-names.ts";
import { closeServer, createPublicServer } from "../gateway/http/listener.ts";
import type { PushRoutes } from "../push/push-routes.ts";
import type { Basics } from "./basics.ts";

/**
 * Builds the server for clients; it does not listen yet.
 * @param push `null` without push registrations.
 */
export function buildPublicServer(
  { config: { server, limits }, log, metrics, onStop, extraRoutes }: Basics,
  gateway: Gateway,
  readiness: () => Readiness,
  push: PushRoutes | null,
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
    if (gateway.answer(request, response) || push?.answer(request, response) === true) return;
    if (extraRoutes(request, response)) return;
    const ways = push === null ? "/v1/poll and /v1/key" : "/v1/poll, /v1/key and /v1/push";
    answerNotFound(response, `there are /v1/ws, /v1/sse, ${ways} here`);
  };
  const publicServer = createPublicServer({ server, limits, metrics, log }, answer);
  gateway.listen(publicServer);
  onStop(async () => closeServer(publicServer));
  return publicServer;
}
