import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Logger } from "pino";
import { Registry } from "prom-client";
import { createSmallServer } from "../gateway/http/listener.ts";
import type { ServerOptions } from "../gateway/options.ts";
import { type GuardParts, runGuarded } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { AdminAccess, type AdminRefusal } from "./admin-access.ts";
import { answerJson } from "./answer-json.ts";
import { type EditPlan, type EditProblems, PlanRoute } from "./plan-edit.ts";
import { type Readiness, toPublicReadiness } from "./readiness.ts";

/** The readiness of one node, or of several as one. */
type AskReadiness = () => Readiness | Promise<Readiness>;

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

/**
 * Answers `/livez` (the process runs) and `/readyz` (the node takes clients). `false` for every other path.
 * @param isAdmin Whether the answer may name the node, its collections and its processes.
 */
export function answerHealth(
  request: IncomingMessage,
  response: ServerResponse,
  readiness: AskReadiness,
  isAdmin: boolean,
  guard: GuardParts,
): boolean {
  const path = pathOf(request);
  if (path === "/livez") {
    answerJson(response, 200, { status: "alive" });
    return true;
  }
  if (path !== "/readyz") return false;
  const answer = (now: Readiness) =>
    answerJson(response, now.ready ? 200 : 503, isAdmin ? now : toPublicReadiness(now));
  // A node that cannot say how it is must get no clients.
  const failed = () => answerJson(response, 503, { ready: false, status: "no-answer" });
  const give = () => Promise.resolve().then(readiness).then(answer, failed);
  // An answer that cannot be written ends this request alone.
  runGuarded(guard, "health.answer", give, () => response.destroy());
  return true;
}

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
  readonly #guard: GuardParts;
  readonly #access: AdminAccess;
  readonly #plan: PlanRoute;

  constructor(parts: AdminParts) {
    const { admin } = parts.server;
    this.#parts = parts;
    this.#guard = { log: parts.log, metrics: parts.counters };
    this.#access = new AdminAccess(admin, Date.now());
    this.#plan = new PlanRoute(parts.plan, admin.planBytes);
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    // Probes ask by the address of a pod: they get their answer under any name, without what is for admins.
    const isAdmin = this.#access.refuseHost(request) === null;
    if (answerHealth(request, response, this.#parts.readiness, isAdmin, this.#guard)) return;
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
