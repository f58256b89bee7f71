import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Logger } from "pino";
import { Registry } from "prom-client";
import { answerJson } from "./answer-json.ts";
import { type EditPlan, type EditProblems, PlanRoute } from "./plan-edit.ts";
import type { Readiness } from "./readiness.ts";

/** What tells of itself: one node, or several as one. */
type AskReadiness = () => Pick<Readiness, "ready"> | Promise<Pick<Readiness, "ready">>;

export interface AdminParts {
  /** In Prometheus' text format. */
  readonly metrics: () => Promise<string>;
  readonly readiness: AskReadiness;
  /** What an edit would do, given as the text of a configuration. */
  readonly plan: (text: string) => Promise<EditPlan | EditProblems>;
  readonly log: Logger;
}

/**
 * Answers `/livez` (the process runs) and `/readyz` (it should get clients). `false` for every other path.
 */
export function answerHealth(
  request: IncomingMessage,
  response: ServerResponse,
  readiness: AskReadiness,
): boolean {
  const path = (request.url ?? "").split("?")[0];
  if (path === "/livez") {
    answerJson(response, 200, { status: "alive" });
    return true;
  }
  if (path !== "/readyz") return false;
  void Promise.resolve(readiness()).then((now) => answerJson(response, now.ready ? 200 : 503, now));
  return true;
}

export function answerNotFound(response: ServerResponse, text: string): void {
  answerJson(response, 404, { error: text });
}

/**
 * The second listener, not for the public: health, `/metrics` in Prometheus' text format, and `/plan`, which says
 * what an edit of the rules would do.
 */
export function createAdminServer({ metrics, readiness, plan, log }: AdminParts): Server {
  const planRoute = new PlanRoute(plan);
  const sendMetrics = async (response: ServerResponse) => {
    const text = await metrics();
    response.writeHead(200, { "content-type": Registry.PROMETHEUS_CONTENT_TYPE }).end(text);
  };
  return createServer((request, response) => {
    if (answerHealth(request, response, readiness)) return;
    const path = (request.url ?? "").split("?")[0];
    if (path !== "/metrics" && path !== "/plan") {
      answerNotFound(response, "there are /livez, /readyz, /metrics and /plan here");
      return;
    }
    const answered = path === "/plan" ? planRoute.answer(request, response) : sendMetrics(response);
    answered.catch((error: unknown) => {
      // Whoever has gone away needs no answer.
      if (request.destroyed && !request.complete) return;
      log.error({ err: error, path }, "an admin's request could not be answered");
      if (response.headersSent) response.destroy();
      else answerJson(response, 500, { error: "this failed; the log says why" });
    });
  });
}
