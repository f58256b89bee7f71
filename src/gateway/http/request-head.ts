import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http";

/** The part of a request that the checks before it need. Requests of HTTP/1.1 and of HTTP/2 have it. */
export interface RequestHead {
  readonly method?: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly socket: { readonly remoteAddress?: string | undefined };
}

/** The part of an answer that these checks write. */
export interface ResponseHead {
  setHeader(name: string, value: string): unknown;
  writeHead(status: number, headers: OutgoingHttpHeaders): unknown;
  end(): unknown;
}
