/** [7.1] `/v1/push` on the public listener: users make, list and remove their registrations. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Identity } from "../auth/verify-token.ts";
import { toErrorMessage } from "../gateway/connection/client-error.ts";
import { type Incoming, readMessage } from "../gateway/connection/incoming.ts";
import type { GatewayContext } from "../gateway/context.ts";
import type { Admission } from "../gateway/http/admission.ts";
import type { Callers } from "../gateway/http/callers.ts";
import { answerPreflight, isPreflight } from "../gateway/http/cors.ts";
import { chargeConnect, checkOrigin } from "../gateway/http/http-admission.ts";
import { bearerOf } from "../gateway/http/http-request.ts";
import type { SharedParts } from "../gateway/shared-parts.ts";
import { answerError, answerJson } from "../gateway/transports/http-exchange.ts";
import { noteFault, runGuarded } from "../metrics/guard.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { Registered, Registrations } from "./registrations.ts";

const PATH = "/v1/push";
/** The id of a registration in the path. */
const ONE = /^\/v1\/push\/([\w-]{1,64})$/;

/**
 * Bytes of a body that is too large which are read before the connection is closed. A client that has sent its whole
 * body reads the refusal; a connection that is closed while bytes arrive may lose it.
 */
const DISCARDED_BYTES = 1_048_576;

/** Answers the requests of users about their registrations. */
export class PushRoutes {
  readonly #context: GatewayContext;
  readonly #admission: Admission;
  readonly #callers: Callers;
  readonly #registrations: Registrations;

  constructor(
    context: GatewayContext,
    { admission, callers }: Pick<SharedParts, "admission" | "callers">,
    registrations: Registrations,
  ) {
    this.#context = context;
    this.#admission = admission;
    this.#callers = callers;
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
    if (method === "POST") this.#answer(response, await this.#register(request, response, identity));
    else if (id !== undefined) answerJson(response, 200, await this.#registrations.remove(identity, id));
    else answerJson(response, 200, await this.#registrations.list(identity));
  }

  /** An empty token is refused, so that anonymous clients have no registrations. */
  async #identify(request: IncomingMessage, address: string): Promise<Identity> {
    const bytes = Buffer.byteLength(request.url ?? "");
    const identity = await this.#callers.identify(bearerOf(request) ?? "", address, bytes);
    const refusal = identity === null ? null : this.#context.trust.refusalOf(identity);
    if (refusal !== null) throw refusal;
    if (identity !== null && identity.subject !== null) return identity;
    const text = "a push registration belongs to a user: the token needs a sub";
    throw new TidewireError("unauthenticated", text, { reason: "missing" }, { retry: "never" });
  }

  async #register(
    request: IncomingMessage,
    response: ServerResponse,
    identity: Identity,
  ): Promise<Registered> {
    const { limits } = this.#context;
    const text = await readBody(request, limits.messageBytes);
    if (text === null) {
      if (!request.complete) response.setHeader("Connection", "close"); // nobody reads the rest
      const details = { limit: "messageBytes", value: limits.messageBytes };
      const message = `the body has more than ${limits.messageBytes} bytes (limits.messageBytes)`;
      throw new TidewireError("bad-request", message, details);
    }
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

/**
 * Reads a body as text. The rest of one that is larger than the limit is not kept, and much more than the limit is not
 * read.
 * @returns `null` if it is larger.
 */
async function readBody(request: IncomingMessage, bytesMax: number): Promise<string | null> {
  const parts: Buffer[] = [];
  let size = 0;
  // Leaving the loop must not destroy the request, because the refusal is still to be sent on its socket.
  const read: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false });
  for await (const part of read) {
    size += part.length;
    if (size <= bytesMax) parts.push(part);
    else if (size > bytesMax + DISCARDED_BYTES) return null;
  }
  return size > bytesMax ? null : Buffer.concat(parts).toString("utf8");
}
