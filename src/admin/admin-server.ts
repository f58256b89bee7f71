import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Logger } from "pino";
import { Registry } from "prom-client";
import { createSmallServer } from "../gateway/http/listener.ts";
import type { ServerOptions } from "../gateway/options.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { AdminAccess, type AdminRefusal } from "./admin-access.ts";
import { answerJson } from "./answer-json.ts";
import { type AskReadiness, HealthRoutes } from "./health.ts";
import { type EditPlan, type EditProblems, PlanRoute } from "./plan-edit.ts";

/** The sources of the admin listener's answers. */
export interface AdminParts {
  readonly server: ServerOptions;
  readonly counters: Pick<Metrics, "adminRefused" | "socketsRefused" | "unexpectedErrors">;
  /** In Prometheus' text format. */
  readonly metrics: () => Promise<string>;
  readonly readiness: AskReadiness;
  /** The effect of an edit, given as the text of a configuration. */
  readonly plan: (text: string) => Promise<EditPlan | EditProblems>;
  readonly log: Logger;
}

const pathOf = ({ url = "" }: IncomingMessage): string => url.split("?")[0] ?? "";

/** Answers 404 with a text that says what exists. */
export function answerNotFound(response: ServerResponse, text: string): void {
  answerJson(response, 404, { error: text });
}

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || host.startsWith("127.");

/**
 * The second listener, not for the public: health, `/metrics` in Prometheus' text format, and `/plan`, which says
 * what an edit of the rules would do and needs the admin's token.
 */
export function createAdminServer(parts: AdminParts): Server {
  const { server, counters, log } = parts;
  const handler = new AdminHandler(parts);
  if (!isLoopback(server.admin.host) && !server.admin.protectMetrics) {
    parts.log.warn(
      { host: server.admin.host },
      "the admin listener is not on loopback and serves /metrics without a token: set server.admin.protectMetrics",
    );
  }
  return createSmallServer(server, (request, response) => handler.handle(request, response), {
    log,
    metrics: counters,
  });
}

const notFound = async (_request: IncomingMessage, response: ServerResponse): Promise<void> =>
  answerNotFound(response, "there are /livez, /readyz, /metrics and /plan here");

class AdminHandler {
  readonly #parts: AdminParts;
  readonly #health: HealthRoutes;
  readonly #access: AdminAccess;
  readonly #plan: PlanRoute;

  constructor(parts: AdminParts) {
    const { admin } = parts.server;
    this.#parts = parts;
    this.#health = new HealthRoutes(parts.readiness, { log: parts.log, metrics: parts.counters });
    this.#access = new AdminAccess(admin, Date.now());
    this.#plan = new PlanRoute(parts.plan, admin.planBytes);
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    // Probes ask by the address of a pod: they get their answer under any name, without what is for admins.
    const isAdmin = this.#access.refuseHost(request) === null;
    if (this.#health.answer(request, response, isAdmin)) return;
    const path = pathOf(request);
    const answer = path === "/metrics" ? this.#sendMetrics : path === "/plan" ? this.#answerPlan : notFound;
    const refusal =
      answer === notFound
        ? this.#access.refuseHost(request)
        : this.#access.refuse(request, path === "/metrics" ? "metrics" : "token", Date.now());
    if (refusal !== null) {
      this.#refuse(response, refusal);
      return;
    }
    answer(request, response).catch((error: unknown) => {
      // A client that has gone needs no answer.
      if (request.destroyed && !request.complete) return;
      this.#parts.log.error({ err: error, path }, "an admin's request could not be answered");
      if (response.headersSent) response.destroy();
      else answerJson(response, 500, { error: "this failed; the log says why" });
    });
  }

  #refuse(response: ServerResponse, { reason, status, text, headers = {} }: AdminRefusal): void {
    this.#parts.counters.adminRefused.inc({ reason });
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    // The body of a request that is refused is not read.
    response.setHeader("connection", "close");
    answerJson(response, status, { error: text });
  }

  readonly #sendMetrics = async (_request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const text = await this.#parts.metrics();
    response.writeHead(200, { "content-type": Registry.PROMETHEUS_CONTENT_TYPE }).end(text);
  };

  readonly #answerPlan = (request: IncomingMessage, response: ServerResponse): Promise<void> =>
    this.#plan.answer(request, response);
}
