import { once } from "node:events";
import { readFileSync, unwatchFile, watchFile } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { AddressInfo, Server as NetServer } from "node:net";
import type { Logger } from "pino";
import type { ServerOptions, TlsOptions } from "./options.ts";

export interface Listening {
  readonly host: string;
  readonly port: number;
}

const HEADERS_TIMEOUT_MS = 10_000;
const TLS_POLL_MS = 5_000;
/** Connections that the system takes before we do: thousands may come back within a second. It has a limit of its own. */
const BACKLOG = 4_096;

/** The public listener, plain or TLS. A request without a body has no reason to take long. */
export function createPublicServer(options: ServerOptions, onRequest: RequestListener, log: Logger): Server {
  const server =
    options.tls === undefined ? createServer(onRequest) : createSecureServer(options.tls, onRequest, log);
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = 2 * HEADERS_TIMEOUT_MS;
  server.on("clientError", (_error, socket) => {
    if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    socket.destroy();
  });
  return server;
}

/** Takes a renewed certificate without a restart; a broken one changes nothing. */
function createSecureServer(tls: TlsOptions, onRequest: RequestListener, log: Logger): TlsServer {
  const read = () => ({ cert: readFileSync(tls.cert), key: readFileSync(tls.key) });
  const server = createTlsServer({ ...read(), minVersion: "TLSv1.2" }, onRequest);
  const reload = () => {
    try {
      server.setSecureContext({ ...read(), minVersion: "TLSv1.2" });
      log.info("the TLS certificate was read again");
    } catch (error) {
      log.error({ err: error }, "the edited TLS certificate is not usable; the old one stays");
    }
  };
  for (const file of [tls.cert, tls.key])
    watchFile(file, { interval: TLS_POLL_MS, persistent: false }, reload);
  server.once("close", () => {
    for (const file of [tls.cert, tls.key]) unwatchFile(file, reload);
  });
  return server;
}

/** @throws The system's error, such as a port in use. */
export async function listen(server: NetServer, { host, port }: Listening): Promise<Listening> {
  server.listen({ port, host, backlog: BACKLOG });
  await once(server, "listening");
  // A TCP server has an address once it listens.
  const address = server.address() as AddressInfo;
  return { host: address.address, port: address.port };
}

/** Stops listening and ends what is left; upgraded sockets are the gateway's to end. */
export function closeServer(server: Server): void {
  server.close();
  server.closeAllConnections();
}
