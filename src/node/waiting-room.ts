import type { RequestListener, Server } from "node:http";
import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import { answerJson } from "../admin/answer-json.ts";
import type { Config } from "../config/config.ts";
import {
  closeServer,
  createPublicServer,
  createSmallServer,
  type Listening,
  listen,
  openSocketsOf,
} from "../gateway/http/listener.ts";
import { guarded } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";

/** Why the node cannot start yet. */
export interface WaitReason {
  readonly status: "no-primary" | "no-majority";
  /** A text for the admin. */
  readonly text: string;
}

/** Where the node will listen. */
export interface StartPorts {
  readonly port: number;
  readonly adminPort: number;
}

type RoomParts = { readonly config: Config; readonly log: Logger; readonly metrics: Metrics };

/**
 * The two listeners of a node that cannot start yet. `/livez` answers 200, `/readyz` answers 503 with the reason, and every
 * other request, upgrades included, receives 503: a load balancer and an admin see a node that waits, not one that is gone.
 */
export class WaitingRoom {
  readonly #parts: RoomParts;
  #open: { readonly servers: readonly Server[]; readonly ports: StartPorts } | undefined;
  #reason: WaitReason | undefined;

  constructor(parts: RoomParts) {
    this.#parts = parts;
  }

  /** The ports of the listeners, or the configured ones before they were open. The node takes over the same ports. */
  get ports(): StartPorts {
    const { port, admin } = this.#parts.config.server;
    return this.#open?.ports ?? { port, adminPort: admin.port };
  }

  /** Notes the reason, and opens the listeners if they are not open. */
  async wait(reason: WaitReason): Promise<void> {
    const isNew = this.#reason?.status !== reason.status;
    this.#reason = reason;
    this.#open ??= await this.#listen();
    if (isNew) this.#parts.log.warn({ reason: reason.status, ...this.#open.ports }, reason.text);
  }

  /** Ends the listeners. */
  async close(): Promise<void> {
    const { servers = [] } = this.#open ?? {};
    await Promise.all(servers.map(closed));
  }

  async #listen() {
    const { config, log, metrics } = this.#parts;
    const { server, limits } = config;
    const answer: RequestListener = (request, response) => this.#answer(request.url ?? "", response);
    const publicServer = createPublicServer(
      { server, limits, sockets: openSocketsOf(limits, server), metrics, log },
      answer,
    );
    const refuse = (_request: unknown, socket: Duplex) => {
      socket.on("error", () => {}); // The peer has gone, which is no loss.
      socket.end("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\r\n");
    };
    publicServer.on("upgrade", guarded({ log, metrics }, "waiting.upgrade", refuse));
    const adminServer = createSmallServer(server, answer, { log, metrics });
    const servers = [publicServer, adminServer];
    try {
      const { port } = await listen(publicServer, server);
      const admin: Listening = await listen(adminServer, server.admin);
      return { servers, ports: { port, adminPort: admin.port } };
    } catch (error) {
      await Promise.all(servers.map(closed));
      throw error;
    }
  }

  #answer(url: string, response: Parameters<RequestListener>[1]): void {
    const [path] = url.split("?");
    if (path === "/livez") {
      answerJson(response, 200, { status: "alive" });
      return;
    }
    response.setHeader("Retry-After", "5");
    const { status = "starting", text = "the node is starting" } = this.#reason ?? {};
    const isProbe = path === "/readyz";
    const body = { ready: false, status, reason: text };
    answerJson(response, 503, isProbe ? body : { error: "the node is starting: try again later" });
  }
}

async function closed(server: Server): Promise<void> {
  const done = new Promise<void>((resolve) => server.close(() => resolve()));
  closeServer(server);
  await done;
}
