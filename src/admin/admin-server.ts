import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Metrics } from "../metrics/metrics.ts";
import type { Readiness } from "./readiness.ts";

export interface AdminParts {
  readonly metrics: Metrics;
  readonly readiness: () => Readiness;
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "cache-control": "no-store",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

/**
 * Answers `/livez` (the process runs) and `/readyz` (it should get clients). `false` for every other path.
 */
export function answerHealth(
  request: IncomingMessage,
  response: ServerResponse,
  readiness: () => Readiness,
): boolean {
  const path = (request.url ?? "").split("?")[0];
  if (path === "/livez") {
    answer(response, 200, { status: "alive" });
    return true;
  }
  if (path !== "/readyz") return false;
  const now = readiness();
  answer(response, now.ready ? 200 : 503, now);
  return true;
}

export function answerNotFound(response: ServerResponse, text: string): void {
  answer(response, 404, { error: text });
}

/** The second listener, not for the public: health and `/metrics` in Prometheus' text format. */
export function createAdminServer({ metrics, readiness }: AdminParts): Server {
  return createServer((request, response) => {
    if (answerHealth(request, response, readiness)) return;
    if ((request.url ?? "").split("?")[0] !== "/metrics") {
      answerNotFound(response, "there are /livez, /readyz and /metrics here");
      return;
    }
    metrics.registry.metrics().then(
      (text) => response.writeHead(200, { "content-type": metrics.registry.contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  });
}
