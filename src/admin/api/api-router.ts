import type { IncomingMessage, ServerResponse } from "node:http";
import type { z } from "zod";
import type { AdminOptions } from "../../gateway/admin-options.ts";
import { parseUntrusted } from "../../protocol/parse-untrusted.ts";
import { type AdminAccess, AdminRefusal } from "../access/admin-access.ts";
import { answerJson } from "../answer-json.ts";
import { outageOf } from "../outage.ts";
import { readBody } from "../read-body.ts";
import { ApiError, type Call, type EndpointRole, type EndpointSpec } from "./endpoint.ts";
import { ENDPOINTS, type Handlers, type Operation } from "./endpoints.ts";
import { matchPath } from "./match-path.ts";

/** The limits of one request. */
type BodyLimits = Pick<AdminOptions, "requestBytes" | "planBytes">;

/** Handles a request, whatever its endpoint. */
type AnyHandler = (call: Call, request: unknown) => unknown;

/** Finds the endpoint of a request, checks its sender, its fields and its answer, and reports every refusal as JSON. */
export class ApiRouter {
  readonly #access: AdminAccess;
  readonly #limits: BodyLimits;
  readonly #handlers: Handlers;
  readonly #onBusy: (operation: Operation) => void;

  /** @param onBusy A request was refused, because others of its kind are running. */
  constructor(
    access: AdminAccess,
    limits: BodyLimits,
    handlers: Handlers,
    onBusy: (operation: Operation) => void,
  ) {
    this.#onBusy = onBusy;
    this.#access = access;
    this.#limits = limits;
    this.#handlers = handlers;
  }

  /**
   * Answers a request to the API.
   * @returns The refusal of a sender, which has no answer yet.
   */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<AdminRefusal | null> {
    const [path = "", query = ""] = (request.url ?? "").split(/\?(.*)/s);
    const hostRefusal = this.#access.refuseHost(request);
    if (hostRefusal !== null) return hostRefusal;
    const matched = matchPath(request.method ?? "", path);
    if ("methods" in matched) {
      answerUnmatched(response, matched.methods);
      return null;
    }
    const spec: EndpointSpec = ENDPOINTS[matched.operation];
    const nowMs = Date.now();
    try {
      const sender = await this.#admit(request, spec, nowMs);
      if (sender instanceof AdminRefusal) return sender;
      const call: Call = { sender, from: request.socket.remoteAddress ?? "", nowMs, request, response };
      const fields = spec.method === "GET" ? fieldsOfQuery(query) : await this.#readFields(request, spec);
      const asked = typeof fields === "string" ? fields : { ...fields, ...matched.fields };
      // The handler of an operation takes the output of the schema of that operation.
      const handle = this.#handlers[matched.operation] as AnyHandler;
      const given = await handle(call, parseFields(spec.request, asked));
      // The schema is strict: a field that it does not name would be a bug, and is not sent.
      answerJson(response, response.statusCode, spec.answer.parse(given));
    } catch (error) {
      if (error instanceof AdminRefusal) return error;
      const outage = outageOf(error);
      if (outage !== null) refuse(response, unavailable(outage));
      else if (error instanceof ApiError) {
        if (error.code === "busy") this.#onBusy(matched.operation);
        refuse(response, error);
      } else throw error;
    }
    return null;
  }

  async #admit(request: IncomingMessage, { role, method }: EndpointSpec, nowMs: number) {
    if (role === "anyone") return null;
    return this.#access.admit(request, { role: roleOf(role), changes: method !== "GET" }, nowMs);
  }

  async #readFields(
    request: IncomingMessage,
    { body, isLarge = body === "text" }: EndpointSpec,
  ): Promise<string | Record<string, unknown>> {
    const { planBytes, requestBytes } = this.#limits;
    const [bytesMax, option] = isLarge ? [planBytes, "planBytes"] : [requestBytes, "requestBytes"];
    const text = await readBody(request, bytesMax);
    if (text === null)
      throw new ApiError(413, "too-large", `larger than ${bytesMax} bytes (server.admin.${option})`);
    return body === "text" ? text : fieldsOfJson(text, request.headers["content-type"]);
  }
}

const unavailable = (cause: Error) => new ApiError(503, "unavailable", UNAVAILABLE, { cause });

const UNAVAILABLE =
  "MongoDB does not answer or refuses this, or a worker of the node does not answer: try again later";

const roleOf = (role: Exclude<EndpointRole, "anyone">) => (role === "any-admin" ? null : role);

function answerUnmatched(response: ServerResponse, methods: readonly string[]): void {
  if (methods.length === 0) {
    refuse(
      response,
      new ApiError(404, "unknown-path", "there is no such path: docs/admin-api.md lists them"),
    );
    return;
  }
  response.setHeader("allow", methods.join(", "));
  refuse(response, new ApiError(405, "unknown-method", `this path takes ${methods.join(" and ")}`));
}

function refuse(response: ServerResponse, { status, code, message }: ApiError): void {
  // The rest of a body that is too large is not read.
  if (status === 413) response.setHeader("connection", "close");
  answerJson(response, status, { error: message, code });
}

function fieldsOfQuery(query: string): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [name, value] of new URLSearchParams(query)) {
    if (Object.hasOwn(fields, name)) throw new ApiError(400, "bad-request", `${name} is given twice`);
    fields[name] = value;
  }
  return fields;
}

function fieldsOfJson(text: string, contentType: string | undefined): Record<string, unknown> {
  if (text === "") return {};
  // A form of another page can send neither this type nor a header of its own without asking first (CORS).
  if (contentType?.split(";")[0]?.trim().toLowerCase() !== "application/json")
    throw new ApiError(415, "bad-request", "the body is JSON: send it as content-type: application/json");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ApiError(400, "bad-request", "the body is not JSON", { cause });
  }
  if (isDeeper(value, LEVELS_MAX))
    throw new ApiError(
      400,
      "bad-request",
      `the body has more than ${LEVELS_MAX} levels of lists and objects`,
    );
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  throw new ApiError(400, "bad-request", "the body is not a JSON object");
}

/** Levels of lists and objects in a body. MongoDB stores no deeper document, and functions that call themselves need a bound. */
const LEVELS_MAX = 100;

const isDeeper = (value: unknown, levels: number): boolean =>
  typeof value === "object" &&
  value !== null &&
  (levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1)));

function parseFields(schema: z.ZodType, fields: unknown): unknown {
  const parsed = parseUntrusted(schema, fields);
  if (parsed.success) return parsed.data;
  const text = parsed.error.issues
    .slice(0, 10)
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join(".")}: ${message}`))
    .join("; ");
  throw new ApiError(400, "bad-request", text);
}
