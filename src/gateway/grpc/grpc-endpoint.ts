/**
 * Serves backends over gRPC, gRPC-Web and Connect. The library of Connect owns the three wire formats; limits, tokens,
 * rights and delivery are those of every other transport.
 */
import {
  Code,
  ConnectError,
  cors,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import { holderOf } from "../../auth/subject.ts";
import { guarded, noteFault, runGuarded } from "../../metrics/guard.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { FenceMessage } from "../../protocol/messages.ts";
import { internalError, toErrorMessage } from "../connection/client-error.ts";
import { identify } from "../connection/handlers/hello.ts";
import type { OpenConnection, OpenedConnection } from "../connection/open-connection.ts";
import { badRequest } from "../connection/parse-message.ts";
import type { GatewayContext } from "../context.ts";
import type { Admission } from "../http/admission.ts";
import type { Callers } from "../http/callers.ts";
import { answerPreflight, isPreflight } from "../http/cors.ts";
import { chargeConnect, checkOrigin } from "../http/http-admission.ts";
import { bearerOf } from "../http/http-request.ts";
import { answerError } from "../transports/http-exchange.ts";
import { NO_CLOSE_FRAME } from "../transports/ws.ts";
import { ArrivingBytes } from "./arriving-bytes.ts";
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
  readonly #callers: Callers;
  readonly #handlers: ReadonlyMap<string, Handler>;
  readonly #arriving: ArrivingBytes;
  /** By the ids of their connections. */
  readonly #streams = new Map<string, Stream>();

  constructor(
    context: GatewayContext,
    admission: Admission,
    { open, callers }: { readonly open: OpenConnection; readonly callers: Callers },
  ) {
    this.#context = context;
    this.#admission = admission;
    this.#open = open;
    this.#callers = callers;
    this.#arriving = new ArrivingBytes(context.limits);
    const { callBytes } = context.metrics;
    context.metrics.onScrape("callBytes", () => callBytes.set(this.#arriving.totalBytes));
    const router = createConnectRouter({
      // A message compressed for each client would cost more than the rest of its delivery, and its length would say
      // something about the data of others (docs/security.md).
      acceptCompression: [],
      readMaxBytes: context.limits.messageBytes,
    });
    router.service(LiveQueries, {
      follow: (request, handling) => this.#follow(request, handling),
      fence: (request, handling) => this.#answering(() => this.#fence(request, handling)),
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
    // Charged for every request, also for one that cannot be read.
    const refusal = this.#refusalOf(address);
    if (!hasAuthority(request)) {
      request.resume();
      answerError(response, toErrorMessage(refusal ?? badAuthority(), this.#context.log));
      return;
    }
    const call = new Call({ request, response }, address, this.#context);
    const values = createContextValues().set(CALL, call);
    const asked = universalRequestFromNodeRequest(request, response, undefined, values);
    if (refusal !== null) request.resume();
    const body =
      refusal === null ? this.#countedBody(asked.body, call) : this.#refusedBody(this.#statusOf(refusal));
    const answered = await handler({ ...asked, body });
    try {
      const pieces = answered.body === undefined ? {} : { body: call.inPieces(answered.body) };
      await universalResponseToNodeResponse({ ...answered, ...pieces }, response);
    } catch (error) {
      // A client that has left is not unexpected.
      if (response.destroyed || !isOpen(response)) return;
      throw error;
    }
  }

  /**
   * The body of a call that is refused before it is read, so that its bytes need no memory. The error becomes the status
   * of the call, which the library writes in the format of the call.
   */
  #refusedBody(status: ConnectError): AsyncIterable<Uint8Array> {
    return { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(status) }) };
  }

  /** The body of a call, which ends with an error if the connection has too many bytes of incomplete requests. */
  #countedBody(
    body: ReturnType<typeof universalRequestFromNodeRequest>["body"],
    call: Call,
  ): AsyncIterable<Uint8Array> {
    // The library makes anything else only of a body that somebody has parsed before.
    return this.#arriving.counted(body as AsyncIterable<Uint8Array>, call, (error) => this.#statusOf(error));
  }

  /** The limit that the call exceeds, as an error. Otherwise the call is counted. */
  #refusalOf(address: string): TidewireError | null {
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
      if (!(error instanceof ConnectError)) {
        const { ref } = noteFault(this.#context, "grpc.stream", error);
        throw this.#statusOf(internalError(ref));
      }
      // The deadline of the call has passed, which has a status of its own.
      throw signal.reason instanceof ConnectError ? signal.reason : error;
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
    const bytes = call.requestBytes;
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

  async #fence(request: FenceRequest, handling: HandlerContext): Promise<{ cursor: string }> {
    const call = callOf(handling);
    const { signal } = handling;
    const message = toFence(request);
    const cursor =
      request.connection === ""
        ? await this.#fenceNode(message, call, signal)
        : await this.#fenceStream(message, request, call, signal);
    return { cursor };
  }

  /** Waits for the node: a connection without subscriptions, which has everything as soon as the node has. */
  async #fenceNode(message: FenceMessage, call: Call, signal: AbortSignal): Promise<string> {
    const transport = new FenceTransport();
    this.#onAbort(signal, (error) => transport.refuse(error));
    const { connection, inbox } = this.#open(transport, call.address, Date.now());
    call.onClosed("grpc.close", () => connection.transportEnded(call.isComplete ? COMPLETE : NO_CLOSE_FRAME));
    if (!connection.isClosed) {
      const token = bearerOf(call.request);
      await inbox.authenticateByRequest(() => identify(this.#context, token, call.address, IN_METADATA));
    }
    const incoming = { fields: { ...message }, bytes: call.requestBytes };
    if (connection.isOpen) inbox.receive(incoming, Date.now(), undefined, signal);
    return transport.cursor;
  }

  /** Waits until a stream has sent the change, and its client has taken it. */
  async #fenceStream(
    message: FenceMessage,
    { connection: name, id }: FenceRequest,
    call: Call,
    signal: AbortSignal,
  ): Promise<string> {
    const identity = await identify(this.#context, bearerOf(call.request), call.address, IN_METADATA);
    const stream = this.#streams.get(name);
    if (stream === undefined || !stream.connection.isOpen || !isSameUser(stream, holderOf(identity))) {
      // Any other call is charged by the inbox of the stream.
      this.#callers.charge(identity, call.address, call.requestBytes);
      const text = "no stream of this user has this connection: call Fence on the channel of the stream";
      throw new TidewireError("unknown-id", text);
    }
    const { ownId, cursor, refuse } = stream.transport.fence(id);
    this.#onAbort(signal, refuse);
    const incoming = { fields: { ...message, id: ownId }, bytes: call.requestBytes };
    stream.inbox.receive(incoming, Date.now(), (error) => refuse(toCallError(error)), signal);
    return cursor;
  }

  /** Calls a listener when a call was cancelled or its deadline has passed. A call that has ended counts as cancelled. */
  #onAbort(signal: AbortSignal, refuse: (error: ConnectError) => void): void {
    const abort = guarded(this.#context, "grpc.abort", () =>
      refuse(ConnectError.from(signal.reason, Code.Canceled)),
    );
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  }

  /** Turns an error of a handler into the status of its call. */
  async #answering<T>(answer: () => Promise<T>): Promise<T> {
    try {
      return await answer();
    } catch (error) {
      throw error instanceof ConnectError ? error : this.#statusOf(error);
    }
  }

  /** The status of a call for an error, which is counted. */
  #statusOf(error: unknown): ConnectError {
    const message = toErrorMessage(error, this.#context.log);
    this.#context.metrics.errorsSent.inc({ code: message.code });
    return toCallError(message);
  }
}

/** The call that a handler answers. */
function callOf({ values }: HandlerContext): Call {
  const call = values.get(CALL);
  if (call === null) throw new Error("the call was made without its request");
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

/** Whether the request names its host in a form that a URL may have. The library of Connect makes a URL of it. */
function hasAuthority(request: CallRequest): boolean {
  const authority = "authority" in request ? request.authority : request.headers.host;
  return authority !== undefined && URL.canParse(`http://${authority}`);
}

const badAuthority = () => badRequest([{ path: "host", reason: "expected the name or address of a host" }]);

/** Whether the client of an answer is still there. */
const isOpen = (response: CallResponse): boolean =>
  "stream" in response ? response.stream?.destroyed === false : response.socket?.destroyed === false;
