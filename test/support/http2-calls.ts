/** Calls of the listener for gRPC over a client of HTTP/2, without a library that finishes and reads every call. */
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from "node:http2";
import { onTestFinished } from "vitest";
import type { Service } from "../../src/server.ts";
import { grpcUrl } from "./grpc-client.ts";

export const FENCE = "/tidewire.v1.LiveQueries/Fence";
export const FOLLOW = "/tidewire.v1.LiveQueries/Follow";

/** A client of HTTP/2 that takes at most so many bytes of each answer. */
export function dial(service: Pick<Service, "grpcAddress">, takenBytes = 65_535): ClientHttp2Session {
  const session = connectHttp2(grpcUrl(service), { settings: { initialWindowSize: takenBytes } });
  session.on("error", () => {});
  onTestFinished(() => session.destroy());
  return session;
}

export function post(session: ClientHttp2Session, path: string, headers: object = {}): ClientHttp2Stream {
  const call = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/json",
    ...headers,
  });
  call.on("error", () => {});
  return call;
}

/** The whole answer of a call, and the code with which its stream was closed. */
export async function answerOf(call: ClientHttp2Stream): Promise<{ text: string; code: number | undefined }> {
  let text = "";
  call.on("data", (bytes) => {
    text += String(bytes);
  });
  const code = await untilClosed(call);
  return { text, code };
}

/** Not `once` of node:events, which would reject where the service resets the stream. */
export async function untilClosed(call: ClientHttp2Stream): Promise<number | undefined> {
  if (!call.closed) await new Promise<void>((resolve) => call.once("close", () => resolve()));
  return call.rstCode;
}

/** A message of a stream, behind its length. */
export const envelope = (json: string): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(Buffer.byteLength(json), 1);
  return Buffer.concat([head, Buffer.from(json)]);
};
