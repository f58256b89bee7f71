/** [7.1] `/v1/push` on the public listener: users make, list and remove their registrations. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Identity } from "../auth/verify-token.ts";
import { toErrorMessage } from "../gateway/connection/client-error.ts";
import { identify } from "../gateway/connection/handlers/hello.ts";
import { type Incoming, readMessage } from "../gateway/connection/incoming.ts";
import type { GatewayContext } from "../gateway/context.ts";
import type { Admission } from "../gateway/http/admission.ts";
import { answerPreflight, isPreflight } from "../gateway/http/cors.ts";
import { chargeConnect, checkOrigin } from "../gateway/http/http-admission.ts";
import { bearerOf } from "../gateway/http/http-request.ts";
import { answerError, answerJson } from "../gateway/transports/http-exchange.ts";
import { noteFault, runGuarded } from "../metrics/guard.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { Registered, Registrations } from "./registrations.ts";

const PATH = "/v1/push";
/** The id of a registration in the path. */
const ONE = /^\/v1\/push\/([\w-]{1,64})$/;

/** Answers the requests of users about their registrations. */
export class PushRoutes {
  readonly #context: GatewayContext;
  readonly #admission: Admission;
  readonly #registrations: Registrations;

  constructor(context: GatewayContext, admission: Admission, registrations: Registrations) {
    this.#context = context;
    this.#admission = admission;
    this.#registrations = registrations;
  }

  /** Answers a request; `false` if the path is none of these. */
  answer(request: IncomingMessage, response: ServerResponse): boolean {
    const path = (request.url ?? "").split("?")[0] ?? "";
    const id = ONE.exec(path)?.[1];
    if (path !== PATH && id === undefined) return false;
    const serve = () =>
      this.#serve(request, response, id).catch((error: unknown) => this.#refuse(response, error));
    runGuarded(this.#context, "push.request", serve, () => response.destroy());
    return true;
  }

  async #serve(request: IncomingMessage, response: ServerResponse, id: string | undefined): Promise<void> {
    const address = this.#admission.addressOf(request);
    const methods = id === undefined ? ["GET", "POST"] : ["DELETE"];
    const { method = "" } = request;
    if (method !== "POST") request.resume();
    checkOrigin(request, response, this.#context, address);
    if (isPreflight(request)) {
      answerPreflight(response, methods.join(", "));
      return;
    }
    if (!methods.includes(method)) {
      response.setHeader("Allow", [...methods, "OPTIONS"].join(", "));
      const error = new TidewireError("bad-request", `use ${methods.join(" or ")} here`);
      answerError(response, toErrorMessage(error, this.#context.log), 405);
      return;
    }
    chargeConnect(this.#admission, address, this.#context);
    const identity = await this.#identify(request, address);
    if (method === "POST") this.#answer(response, await this.#register(request, identity));
    else if (id !== undefined) answerJson(response, 200, await this.#registrations.remove(identity, id));
    else answerJson(response, 200, await this.#registrations.list(identity));
  }

  /** An empty token is refused, so that anonymous clients have no registrations. */
  async #identify(request: IncomingMessage, address: string): Promise<Identity> {
    const identity = await identify(this.#context, bearerOf(request) ?? "", address);
    const refusal = identity === null ? null : this.#context.trust.refusalOf(identity);
    if (refusal !== null) throw refusal;
    if (identity !== null && identity.subject !== null) return identity;
    const text = "a push registration belongs to a user: the token needs a sub";
    throw new TidewireError("unauthenticated", text, { reason: "missing" }, { retry: "never" });
  }

  async #register(request: IncomingMessage, identity: Identity): Promise<Registered> {
    const { limits } = this.#context;
    const text = await readBody(request, limits.messageBytes);
    const bytes = Buffer.byteLength(text);
    const incoming: Incoming = readMessage(text, bytes, limits);
    if ("unread" in incoming) {
      if (incoming.error instanceof TidewireError) throw incoming.error;
      throw new TidewireError("bad-request", "the body is one JSON object");
    }
    return this.#registrations.register(identity, incoming.fields, bytes);
  }

  #answer(response: ServerResponse, registered: Registered): void {
    if ("refused" in registered) {
      this.#context.metrics.errorsSent.inc({ code: registered.refused.code });
      answerError(response, registered.refused);
    } else answerJson(response, 201, registered);
  }

  #refuse(response: ServerResponse, error: unknown): void {
    if (response.headersSent) {
      noteFault(this.#context, "push.request", error);
      response.destroy();
      return;
    }
    const message = toErrorMessage(error, this.#context.log);
    this.#context.metrics.errorsSent.inc({ code: message.code });
    answerError(response, message);
  }
}

/** @throws {TidewireError} `bad-request`: the body is too large. Bytes after the limit are not kept. */
async function readBody(request: IncomingMessage, bytesMax: number): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  // Node types the chunks of a request as `any`; without an encoding they are always buffers.
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size <= bytesMax) parts.push(part);
  }
  if (size <= bytesMax) return Buffer.concat(parts).toString("utf8");
  const text = `the body has more than ${bytesMax} bytes (limits.messageBytes)`;
  throw new TidewireError("bad-request", text, { limit: "messageBytes", value: bytesMax });
}
