/** Connections that are kept for the next request, within limits that no set of receivers can exceed. */
import * as http from "node:http";
import * as https from "node:https";

/** Connections to one origin at a time. More requests wait for one of them. */
const SOCKETS_PER_ORIGIN = 64;

/** Idle connections to all origins together. Beyond that a connection is closed after its answer. */
const IDLE_SOCKETS = 64;

/** How long an idle connection is kept, in milliseconds. Shorter than the keep-alive time of usual servers (5 s). */
const IDLE_MS = 4_000;

/** Limits of an agent. A socket inherits the options that a caller adds. */
const LIMITS = {
  keepAlive: true,
  maxSockets: SOCKETS_PER_ORIGIN,
  scheduling: "lifo",
  timeout: IDLE_MS,
} as const;

type Socket = Parameters<http.Agent["keepSocketAlive"]>[0];

const idleSockets = ({ freeSockets }: http.Agent) =>
  Object.values(freeSockets).reduce((sum, sockets) => sum + (sockets?.length ?? 0), 0);

/** Keeps connections without TLS. */
export class BoundedHttpAgent extends http.Agent {
  constructor(options: http.AgentOptions = {}) {
    super({ ...options, ...LIMITS });
  }

  override keepSocketAlive(socket: Socket): boolean {
    return idleSockets(this) < IDLE_SOCKETS && Boolean(super.keepSocketAlive(socket));
  }
}

/** Keeps connections with TLS. */
export class BoundedHttpsAgent extends https.Agent {
  constructor(options: https.AgentOptions = {}) {
    super({ ...options, ...LIMITS });
  }

  override keepSocketAlive(socket: Socket): boolean {
    return idleSockets(this) < IDLE_SOCKETS && Boolean(super.keepSocketAlive(socket));
  }
}
