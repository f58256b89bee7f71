/**
 * Reads the URL of a request for Socket.IO, once for the service and for the library. The service takes the first of two
 * equal parameters, and the library the last one, so two readings could find two sessions in one request. The limits would
 * then be applied to one session, and the request answered from the other.
 */
import type { IncomingMessage } from "node:http";
import { TidewireError } from "../../protocol/errors.ts";
import { badRequest } from "../connection/parse-message.ts";

/** The parameters that the service reads. The library also reads others. */
export interface SocketIoQuery {
  /** The session; empty or absent for a new one. */
  readonly sid?: string;
  readonly transport?: string;
  /** Asks for an answer as JSONP. */
  readonly j?: string;
}

/** Engine.IO takes the parameters from here, and parses the URL only if there are none. */
type ReadRequest = IncomingMessage & { _query?: SocketIoQuery };

/**
 * The parameters of a request, which are those that the library uses.
 * @throws {TidewireError} `bad-request` if the URL can be read in two ways.
 */
export function queryOf(request: IncomingMessage): SocketIoQuery {
  const read: ReadRequest = request;
  read._query ??= parse(request.url ?? "");
  return read._query;
}

function parse(url: string): SocketIoQuery {
  // A parser of URLs drops everything after it. Clients do not send it.
  if (url.includes("#")) throw badRequest([{ path: "", reason: "a URL on the wire has no #: write %23" }]);
  const at = url.indexOf("?");
  // Without a prototype, so that no name means anything by itself.
  const query: Record<string, string> = Object.create(null);
  for (const [name, value] of new URLSearchParams(at < 0 ? "" : url.slice(at + 1))) {
    if (name in query) throw badRequest([{ path: name, reason: "given more than once" }]);
    query[name] = value;
  }
  return query;
}

/**
 * Checks a request that is no upgrade. JSONP would let a page of any origin read answers, because scripts are exempt from the
 * same-origin policy. The library never answers a plain request for a session that is under a WebSocket.
 * @throws {TidewireError} `bad-request`
 */
export function checkPolling({ j, transport }: SocketIoQuery): void {
  if (j !== undefined)
    throw new TidewireError("bad-request", "polling by JSONP (the parameter j) is not served", { path: "j" });
  if (transport === "websocket")
    throw new TidewireError("bad-request", "transport=websocket needs an upgrade to WebSocket", {
      path: "transport",
    });
}
