/**
 * Serves backends over gRPC, gRPC-Web and Connect. The library of Connect owns the three wire formats; limits, tokens,
 * rights and delivery are those of every other transport.
 */
import {
  ConnectError,
  cors,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import { holderOf } from "../../auth/subject.ts";
import { guarded, runGuarded } from "../../metrics/guard.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { FenceMessage } from "../../protocol/messages.ts";
import { toErrorMessage } from "../connection/client-error.ts";
import { identify } from "../connection/handlers/hello.ts";
import type { OpenConnection, OpenedConnection } from "../connection/open-connection.ts";
import { badRequest } from "../connection/parse-message.ts";
import type { GatewayContext } from "../context.ts";
import type { Admission } from "../http/admission.ts";
import { answerPreflight, isPreflight } from "../http/cors.ts";
import { chargeConnect, checkOrigin } from "../http/http-admission.ts";
import { bearerOf } from "../http/http-request.ts";
import { answerError } from "../transports/http-exchange.ts";
import { NO_CLOSE_FRAME } from "../transports/ws.ts";
import { Call, type CallRequest, type CallResponse } from "./call.ts";
import { toCallError } from "./call-error.ts";
import { FenceTransport } from "./fence-transport.ts";
import { toSubscribe, toValueMode } from "./follow-request.ts";
import { FollowTransport } from "./follow-transport.ts";
import {
  type FenceRequest,
  type FollowRequest,
  type FollowResponse,
  LiveQueries,
} from "./tidewire/v1/live_queries_pb.ts";

/** The path on the public listener, where clients of HTTP/1.1 use Connect or gRPC-Web. */
const PUBLIC_PREFIX = "/v1/connect";
/** The close code of a connection whose answer was sent completely. */
const COMPLETE = 1000;
/** The longest id of a fence. */
const ID_LENGTH = 64;
/** About the size of a `fence` as a message, in bytes. */
const FENCE_BYTES = 100;
const IN_METADATA = "in the metadata of the call";

const CALL = createContextKey<Call | null>(null);

/** A stream, for the fences that name it. */
interface Stream extends OpenedConnection {
  readonly transport: FollowTransport;
}

type Handler = ReturnType<typeof createConnectRouter>["handlers"][number];

/** Answers the calls of tidewire.v1.LiveQueries. Each stream is a connection like any other. */
export class GrpcEndpoint {
  readonly #context: GatewayContext;
  readonly #admission: Admission;
  readonly #open: OpenConnection;
  readonly #handlers: ReadonlyMap<string, Handler>;
  /** By the ids of their connections. */
  readonly #streams = new Map<string, Stream>();

  constructor(context: GatewayContext, admission: Admission, open: OpenConnection) {
    this.#context = context;
    this.#admission = admission;
    this.#open = open;
    const router = createConnectRouter({
      // A message compressed for each client would cost more than the rest of its delivery, and its length would say
      // something about the data of others (docs/security.md).
      acceptCompression: [],
      readMaxBytes: context.limits.messageBytes,
    });
    router.service(LiveQueries, {
      follow: (request, handling) => this.#follow(request, handling),
      fence: (request, handling) => this.#answering(() => this.#fence(request, callOf(handling))),
    });
    this.#handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  }

  /** Answers a request on the public listener; `false` if the path is none of this endpoint. */
  answerPublic(request: CallRequest, response: CallResponse): boolean {
    if (!pathOf(request).startsWith(`${PUBLIC_PREFIX}/`)) return false;
    return this.answer(request, response, PUBLIC_PREFIX);
  }

  /**
   * Answers a request.
   * @param prefix The beginning of its path, before the name of the service.
   * @returns `false` if the path names no call.
   */
  answer(request: CallRequest, response: CallResponse, prefix = ""): boolean {
    const handler = this.#handlers.get(pathOf(request).slice(prefix.length));
    if (handler === undefined) return false;
    const answer = () => this.#answer(handler, request, response);
    runGuarded(this.#context, "grpc.request", answer, () => response.destroy());
    return true;
  }

  async #answer(handler: Handler, request: CallRequest, response: CallResponse): Promise<void> {
    const address = this.#admission.addressOf(request);
    try {
      checkOrigin(request, response, this.#context, address);
    } catch (error) {
      request.resume();
      answerError(response, toErrorMessage(error, this.#context.log));
      return;
    }
    if (isPreflight(request)) {
      answerPreflight(response, "POST", [...cors.allowedHeaders, "Authorization"].join(", "));
      return;
    }
    if (request.headers.origin !== undefined)
      response.setHeader("Access-Control-Expose-Headers", cors.exposedHeaders.join(", "));
    const call = new Call({ request, response }, address, this.#refusalOf(address), this.#context);
    const values = createContextValues().set(CALL, call);
    const answered = await handler(universalRequestFromNodeRequest(request, response, undefined, values));
    const { body } = answered;
    try {
      const pieces = body === undefined ? {} : { body: call.inPieces(body) };
      await universalResponseToNodeResponse({ ...answered, ...pieces }, response);
    } catch (error) {
      // A client that has left is not unexpected.
      if (response.destroyed || !isOpen(response)) return;
      throw error;
    }
  }

  /** Too many calls are refused by their status, which is written in the format of the call. */
  #refusalOf(address: string): Error | null {
    try {
      chargeConnect(this.#admission, address, this.#context);
      return null;
    } catch (error) {
      if (error instanceof TidewireError) return error;
      throw error;
    }
  }

  async *#follow(request: FollowRequest, handling: HandlerContext): AsyncGenerator<FollowResponse, void> {
    const { signal } = handling;
    const transport = await this.#answering(async () => this.#begin(request, callOf(handling)));
    const end = guarded(this.#context, "grpc.abort", () => transport.left());
    signal.addEventListener("abort", end);
    try {
      yield* transport;
    } catch (error) {
      // The deadline of the call has passed, which has a status of its own.
      if (signal.reason instanceof ConnectError) throw signal.reason;
      throw error;
    } finally {
      signal.removeEventListener("abort", end);
    }
  }

  /** Makes the connection of a stream, and asks for its subscription. */
  #begin(request: FollowRequest, call: Call): FollowTransport {
    const { limits } = this.#context;
    const subscribe = toSubscribe(request, limits);
    const values = toValueMode(request);
    const transport = new FollowTransport(call, subscribe.snapshot !== false);
    const opened = this.#open(transport, call.address, Date.now());
    const { connection, inbox } = opened;
    this.#streams.set(connection.id, { ...opened, transport });
    call.onClosed("grpc.close", () => {
      this.#streams.delete(connection.id);
      transport.left();
      connection.transportEnded(call.isComplete ? COMPLETE : NO_CLOSE_FRAME);
    });
    if (connection.isClosed) return transport;
    const token = bearerOf(call.request);
    const bytes = request.filter.length + request.aggregate.length + request.collection.length;
    const ask = async () => {
      await inbox.authenticateByRequest(
        () => identify(this.#context, token, call.address, IN_METADATA),
        values,
      );
      if (connection.isOpen) inbox.receive({ fields: { ...subscribe }, bytes }, Date.now());
    };
    connection.guarded("grpc.follow", ask)();
    return transport;
  }

  async #fence(request: FenceRequest, call: Call): Promise<{ cursor: string }> {
    const message = toFence(request);
    const cursor =
      request.connection === ""
        ? await this.#fenceNode(message, call)
        : await this.#fenceStream(message, request, call);
    return { cursor };
  }

  /** Waits for the node: a connection without subscriptions, which has everything as soon as the node has. */
  async #fenceNode(message: FenceMessage, call: Call): Promise<string> {
    const transport = new FenceTransport();
    const { connection, inbox } = this.#open(transport, call.address, Date.now());
    call.onClosed("grpc.close", () => connection.transportEnded(call.isComplete ? COMPLETE : NO_CLOSE_FRAME));
    if (!connection.isClosed) {
      const token = bearerOf(call.request);
      await inbox.authenticateByRequest(() => identify(this.#context, token, call.address, IN_METADATA));
    }
    if (connection.isOpen) inbox.receive({ fields: { ...message }, bytes: FENCE_BYTES }, Date.now());
    return transport.cursor;
  }

  /** Waits until a stream has sent the change, and its client has taken it. */
  async #fenceStream(
    message: FenceMessage,
    { connection: name, id }: FenceRequest,
    call: Call,
  ): Promise<string> {
    const identity = await identify(this.#context, bearerOf(call.request), call.address, IN_METADATA);
    const stream = this.#streams.get(name);
    if (stream === undefined || !stream.connection.isOpen || !isSameUser(stream, holderOf(identity))) {
      const text = "no stream of this user has this connection: call Fence on the channel of the stream";
      throw new TidewireError("unknown-id", text);
    }
    const { ownId, cursor, refuse } = stream.transport.fence(id);
    const fields = { ...message, id: ownId };
    stream.inbox.receive({ fields, bytes: FENCE_BYTES }, Date.now(), (error) => refuse(toCallError(error)));
    return cursor;
  }

  /** Turns an error of a handler into the status of its call. */
  async #answering<T>(answer: () => Promise<T>): Promise<T> {
    try {
      return await answer();
    } catch (error) {
      if (error instanceof ConnectError) throw error;
      const message = toErrorMessage(error, this.#context.log);
      this.#context.metrics.errorsSent.inc({ code: message.code });
      throw toCallError(message);
    }
  }
}

/** The call that a handler answers. A refused one ends here. */
function callOf({ values }: HandlerContext): Call {
  const call = values.get(CALL);
  if (call === null) throw new Error("the call was made without its request");
  if (call.refusal !== null) throw call.refusal;
  return call;
}

function toFence({ operationTime, id }: FenceRequest): FenceMessage {
  if (operationTime === undefined)
    throw badRequest([{ path: "operation_time", reason: "expected the operation time of a write" }]);
  if (id.length > ID_LENGTH)
    throw badRequest([{ path: "id", reason: `expected at most ${ID_LENGTH} characters` }]);
  const { t, i } = operationTime;
  return { type: "fence", id: "fence", operationTime: { $timestamp: { t, i } } };
}

const isSameUser = ({ connection }: Stream, holder: string): boolean =>
  holderOf(connection.identity) === holder;

const pathOf = ({ url = "" }: CallRequest): string => url.split("?")[0] ?? "";

/** Whether the client of an answer is still there. */
const isOpen = (response: CallResponse): boolean =>
  "stream" in response ? response.stream?.destroyed === false : response.socket?.destroyed === false;
