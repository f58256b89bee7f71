/** The ways in for clients, by the path of their requests. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { GatewayContext } from "./context.ts";
import type { CallRequest, CallResponse } from "./grpc/call.ts";
import type { GrpcEndpoint } from "./grpc/grpc-endpoint.ts";
import type { Admission } from "./http/admission.ts";
import type { Callers } from "./http/callers.ts";
import { HttpRoutes } from "./http/http-routes.ts";
import {
  SocketIoEndpoint,
  type SocketIoGateway,
  type SocketIoOptions,
} from "./socketio/socketio-endpoint.ts";
import { Upgrades } from "./upgrades.ts";

/** The transports whose packages are installed only if they are wanted; `null` if one is not served. */
export interface OptionalTransports {
  readonly socketIo: SocketIoOptions | null;
  readonly Grpc: typeof GrpcEndpoint | null;
}

/** Passes each request to the transport that serves its path. */
export class Endpoints {
  readonly #http: HttpRoutes;
  readonly #socketIo: SocketIoEndpoint | null;
  readonly #grpc: GrpcEndpoint | null;
  readonly #upgrades: Upgrades;

  constructor(
    context: GatewayContext,
    admission: Admission,
    gateway: SocketIoGateway & { readonly callers: Callers },
    { socketIo, Grpc }: OptionalTransports,
  ) {
    const { open, callers } = gateway;
    this.#http = new HttpRoutes(context, admission, { open, callers });
    this.#socketIo = socketIo === null ? null : new SocketIoEndpoint(socketIo, context, admission, gateway);
    this.#grpc = Grpc === null ? null : new Grpc(context, admission, { open, callers });
    this.#upgrades = new Upgrades(context, admission, open, this.#socketIo);
  }

  /** Takes the upgrade requests of a server. Each one is answered, becomes a connection, or is destroyed. */
  follow(server: Server): void {
    this.#upgrades.follow(server);
  }

  /** Answers streams, polls, keys, calls and Socket.IO; `false` for any other path. */
  answer(request: IncomingMessage, response: ServerResponse): boolean {
    if (this.#http.answer(request, response)) return true;
    if (this.#grpc?.answerPublic(request, response) === true) return true;
    if (this.#socketIo === null || !this.#socketIo.serves(request)) return false;
    this.#socketIo.answer(request, response);
    return true;
  }

  /** Answers a call on the listener for gRPC; `false` for any other path. */
  answerCall(request: CallRequest, response: CallResponse): boolean {
    return this.#grpc?.answer(request, response) === true;
  }

  /** Called after the connections have ended. */
  stop(): void {
    this.#http.stop();
    this.#socketIo?.stop();
  }
}
