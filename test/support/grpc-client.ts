/** A client of gRPC in this process, for tests of the service. The library is that of Connect. */
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { onTestFinished } from "vitest";
import {
  ErrorDetailSchema,
  type FollowResponse,
  LiveQueries,
} from "../../src/gateway/grpc/tidewire/v1/live_queries_pb.ts";
import type { Service } from "../../src/server.ts";
import { signToken } from "./service.ts";

export type Claims = Record<string, unknown> | null;

const withToken =
  (claims: Claims, expiresInSeconds?: number): Interceptor =>
  (next) =>
  async (request) => {
    if (claims !== null)
      request.header.set("authorization", `Bearer ${await signToken(claims, expiresInSeconds)}`);
    return next(request);
  };

export const grpcUrl = ({ grpcAddress }: Pick<Service, "grpcAddress">): string => {
  if (grpcAddress === null) throw new Error("the service does not serve gRPC");
  return `http://${grpcAddress.host}:${grpcAddress.port}`;
};

/** A client of the service as the user of these claims. */
export function grpcClient(service: Pick<Service, "grpcAddress">, claims: Claims, expiresInSeconds?: number) {
  const interceptors = [withToken(claims, expiresInSeconds)];
  return createClient(LiveQueries, createGrpcTransport({ baseUrl: grpcUrl(service), interceptors }));
}

type Client = ReturnType<typeof grpcClient>;
type Request = Parameters<Client["follow"]>[0];
type Message = FollowResponse["message"];
type Named<N> = Extract<Message, { case: N }>["value"];

/** One stream, read until it ends or is cancelled. */
export class GrpcStream {
  readonly messages: Message[] = [];
  status: ConnectError | "ok" | null = null;
  readonly #abort = new AbortController();
  #notify: () => void = () => {};

  constructor(client: Client, request: Request) {
    void this.#read(client, request);
  }

  /** The first message of a kind that fits. */
  async until<N extends NonNullable<Message["case"]>>(
    name: N,
    fits: (value: Named<N>) => boolean = () => true,
  ): Promise<Named<N>> {
    for (let at = 0; ; ) {
      for (; at < this.messages.length; at++) {
        const message = this.messages[at];
        if (message?.case === name && fits(message.value as Named<N>)) return message.value as Named<N>;
      }
      if (this.status !== null) throw new Error(`the stream has ended: ${this.status}`);
      await new Promise<void>((resolve) => {
        this.#notify = resolve;
      });
    }
  }

  async ended(): Promise<ConnectError | "ok"> {
    while (this.status === null)
      await new Promise<void>((resolve) => {
        this.#notify = resolve;
      });
    return this.status;
  }

  cancel(): void {
    this.#abort.abort();
  }

  async #read(client: Client, request: Request): Promise<void> {
    try {
      for await (const { message } of client.follow(request, { signal: this.#abort.signal })) {
        this.messages.push(message);
        this.#notify();
      }
      this.status = "ok";
    } catch (error) {
      this.status = ConnectError.from(error);
    }
    this.#notify();
  }
}

/** Follows until the test has finished. */
export function follow(client: Client, request: Request): GrpcStream {
  const stream = new GrpcStream(client, request);
  onTestFinished(() => stream.cancel());
  return stream;
}

/** The parts of a status that tests compare. */
export function statusOf(error: unknown) {
  const status = ConnectError.from(error);
  const [detail] = status.findDetails(ErrorDetailSchema);
  return { status: Code[status.code], code: detail?.code, retry: detail?.retry, text: status.rawMessage };
}
