import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Logger } from "pino";
import { Registry } from "prom-client";
import { hasCredentials } from "../gateway/admin-options.ts";
import { createSmallServer, type Listening } from "../gateway/http/listener.ts";
import type { ServerOptions } from "../gateway/options.ts";
import { FaultLog } from "../metrics/fault-log.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { isLoopback } from "../protocol/is-loopback.ts";
import { AccessLog } from "./access/access-log.ts";
import type { Admin } from "./access/admin.ts";
import { AdminAccess, AdminRefusal } from "./access/admin-access.ts";
import { Credentials } from "./access/credentials.ts";
import { OneTimeToken } from "./access/one-time-token.ts";
import { Sessions } from "./access/sessions.ts";
import { answerJson } from "./answer-json.ts";
import { Acts } from "./api/acts.ts";
import { ApiRouter } from "./api/api-router.ts";
import { auditHandlers } from "./api/audit-handler.ts";
import { connectionHandlers } from "./api/connection-handlers.ts";
import { DraftAudit } from "./api/draft-audit.ts";
import { API } from "./api/endpoint.ts";
import type { Handlers } from "./api/endpoints.ts";
import { overviewHandlers } from "./api/overview-handlers.ts";
import { planHandlers } from "./api/plan-handler.ts";
import { pushHandlers } from "./api/push-handlers.ts";
import { revocationHandlers } from "./api/revocation-handlers.ts";
import { ruleNamesHandlers } from "./api/rule-names-handler.ts";
import { ruleSetHandlers } from "./api/rule-set-handlers.ts";
import { rulesHandlers } from "./api/rules-handlers.ts";
import { beginSession, sessionHandlers } from "./api/session-handlers.ts";
import { sinkHandlers } from "./api/sink-handlers.ts";
import { traceHandlers } from "./api/trace-handlers.ts";
import { ConsoleFiles } from "./console-files.ts";
import { type AskReadiness, HealthRoutes } from "./health.ts";
import type { PlanText } from "./plan-edit.ts";
import type { Processes } from "./questions.ts";
import { setSecurityHeaders } from "./security-headers.ts";

/** The sources of the admin listener's answers. */
export interface AdminParts {
  readonly server: ServerOptions;
  readonly counters: Pick<
    Metrics,
    | "adminBusy"
    | "adminRefused"
    | "adminSessions"
    | "adminSessionsEnded"
    | "socketsRefused"
    | "unexpectedErrors"
  >;
  /** In Prometheus' text format. */
  readonly metrics: () => Promise<string>;
  readonly readiness: AskReadiness;
  /** The effect of an edit, given as the text of a configuration. */
  readonly plan: PlanText;
  /** The processes that serve the clients. */
  readonly processes: Processes;
  readonly log: Logger;
}

/** The admin listener, before it listens. */
export interface AdminListener {
  readonly server: Server;
  /** A URL that logs in once; `null` if a credential is configured, or the listener is not on loopback. */
  readonly loginUrl: (address: Listening) => string | null;
}

const addressOf = ({ socket }: IncomingMessage): string => socket.remoteAddress ?? "";

const pathOf = ({ url = "" }: IncomingMessage): string => url.split("?")[0] ?? "";

/** Answers 404 with a text that says what exists. */
export function answerNotFound(response: ServerResponse, text: string): void {
  answerJson(response, 404, { error: text });
}

/** The path of the one-time URL. */
const LOGIN_PATH = "/login";

/**
 * The second listener, not for the public: health, `/metrics` in Prometheus' text format, the API for admins, whose
 * endpoints need a token or a session, and the console, a page that uses the API.
 */
export function createAdminServer(parts: AdminParts): AdminListener {
  const { server: options, counters, log } = parts;
  const { admin } = options;
  const oneTime = !hasCredentials(admin) && isLoopback(admin.host) ? new OneTimeToken() : null;
  const handler = new AdminHandler(parts, oneTime);
  if (!isLoopback(admin.host) && !admin.protectMetrics) {
    log.warn(
      { host: admin.host },
      "the admin listener is not on loopback and serves /metrics without a token: set server.admin.protectMetrics",
    );
  }
  const guard = { log, metrics: counters };
  const server = createSmallServer(options, (request, response) => handler.handle(request, response), guard);
  const loginUrl = ({ host, port }: Listening) => {
    if (oneTime === null) return null;
    const name = host.includes(":") ? `[${host}]` : host;
    return `http://${name}:${port}${LOGIN_PATH}?token=${oneTime.secret}`;
  };
  return { server, loginUrl };
}

class AdminHandler {
  readonly #parts: AdminParts;
  readonly #health: HealthRoutes;
  readonly #access: AdminAccess;
  readonly #sessions: Sessions;
  readonly #api: ApiRouter;
  readonly #console: ConsoleFiles | null;
  readonly #faults: FaultLog;
  readonly #accessLog: AccessLog;

  constructor(parts: AdminParts, oneTime: OneTimeToken | null) {
    const { admin } = parts.server;
    const { counters, log, processes } = parts;
    const acts = new Acts(processes);
    const audit = new DraftAudit(acts);
    this.#parts = parts;
    const guard = { log, metrics: counters };
    this.#health = new HealthRoutes(parts.readiness, guard);
    this.#faults = new FaultLog(guard, "admin.request");
    this.#sessions = new Sessions(admin, {
      counted: (sessions) => counters.adminSessions.set(sessions),
      ended: (limit) => counters.adminSessionsEnded.inc({ limit }),
    });
    this.#access = new AdminAccess(admin, new Credentials(admin, oneTime, log), this.#sessions, Date.now());
    this.#accessLog = new AccessLog(log);
    const loggedIn = (by: Admin, from: string) => this.#accessLog.loggedIn(by, from);
    const handlers: Handlers = {
      ...sessionHandlers(this.#access, this.#sessions, loggedIn),
      ...planHandlers(parts.plan, audit),
      ...overviewHandlers(processes),
      ...connectionHandlers(processes, acts),
      ...pushHandlers(processes, acts),
      ...revocationHandlers(processes, acts),
      ...auditHandlers(processes),
      ...rulesHandlers(processes, acts, admin),
      ...ruleNamesHandlers(processes),
      ...sinkHandlers(processes, acts),
      ...traceHandlers(processes, acts),
      ...ruleSetHandlers({ processes, acts, audit, plan: parts.plan }),
    };
    this.#api = new ApiRouter(this.#access, admin, handlers, (operation) =>
      counters.adminBusy.inc({ operation }),
    );
    this.#console = admin.console ? new ConsoleFiles() : null;
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    setSecurityHeaders(response);
    // Probes ask by the address of a pod: they get their answer under any name, without what is for admins.
    const isAdmin = this.#access.refuseHost(request) === null;
    if (this.#health.answer(request, response, isAdmin)) return;
    this.#answer(request, response).catch((error: unknown) => {
      // A client that has gone needs no answer.
      if (request.destroyed && !request.complete) return;
      this.#faults.note(error, "a request to the admin listener could not be answered");
      if (response.headersSent) response.destroy();
      else answerJson(response, 500, { error: "this failed; the log says why", code: "internal" });
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refusal = await this.#refusalOrAnswer(request, response);
    if (refusal === null) return;
    this.#accessLog.refused(refusal.reason, addressOf(request), performance.now());
    this.#refuse(response, refusal);
  }

  async #refusalOrAnswer(request: IncomingMessage, response: ServerResponse): Promise<AdminRefusal | null> {
    const path = pathOf(request);
    if (path.startsWith(`${API}/`)) return this.#api.answer(request, response);
    if (path === "/metrics") return this.#answerMetrics(request, response);
    // Links of other pages may lead here: the files are the same for everybody, and hold nothing of the service.
    const nameRefusal = this.#access.refuseName(request);
    if (nameRefusal !== null) return nameRefusal;
    if (await this.#console?.answer(path, request, response)) return null;
    const refusal = this.#access.refuseHost(request);
    if (refusal !== null) return refusal;
    if (path === LOGIN_PATH) return this.#logInByUrl(request, response);
    answerNotFound(response, `there are /livez, /readyz, /metrics and ${API} here`);
    return null;
  }

  #refuse(response: ServerResponse, { reason, status, message, headers }: AdminRefusal): void {
    this.#parts.counters.adminRefused.inc({ reason });
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    // The body of a request that is refused is not read.
    response.setHeader("connection", "close");
    answerJson(response, status, { error: message, code: reason });
  }

  async #answerMetrics(request: IncomingMessage, response: ServerResponse): Promise<AdminRefusal | null> {
    const { protectMetrics } = this.#parts.server.admin;
    const admitted = protectMetrics
      ? await this.#access.admit(request, { role: null, changes: false }, Date.now())
      : this.#access.refuseHost(request);
    if (admitted instanceof AdminRefusal) return admitted;
    const text = await this.#parts.metrics();
    response.writeHead(200, { "content-type": Registry.PROMETHEUS_CONTENT_TYPE }).end(text);
    return null;
  }

  /**
   * The one-time URL of `tidewire start`: begins a session and leads to the page without the token. Only a person can
   * have opened it: a request that another page caused was refused before.
   */
  async #logInByUrl(request: IncomingMessage, response: ServerResponse): Promise<AdminRefusal | null> {
    const token = new URLSearchParams((request.url ?? "").split("?")[1] ?? "").get("token") ?? "";
    const nowMs = Date.now();
    if (request.method !== "GET") {
      response.setHeader("allow", "GET");
      answerJson(response, 405, { error: "open this URL in a browser", code: "unknown-method" });
      return null;
    }
    const admin = await this.#access.logIn(token, addressOf(request), nowMs);
    if (admin instanceof AdminRefusal) return admin;
    this.#accessLog.loggedIn(admin, addressOf(request));
    beginSession(this.#sessions, admin, { request, response, nowMs });
    response.writeHead(303, { location: "/", "cache-control": "no-store" }).end();
    return null;
  }
}
