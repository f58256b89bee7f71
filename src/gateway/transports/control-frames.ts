import { type ServerOptions, type WebSocket, WebSocketServer } from "ws";
import { type GuardParts, guarded } from "../../metrics/guard.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import { RateLimit } from "../connection/rate-limit.ts";
import type { GatewayLimits } from "../limits.ts";

interface ControlFrameParts {
  readonly limits: Pick<GatewayLimits, "requestsPerSecond" | "requestBurst">;
  readonly metrics: Pick<Metrics, "limitHits">;
}

import type { SharedCompression } from "../../feed/shared-compression.ts";
import { declineSmallWindows, deflateOptions, freeInflater } from "./ws-compression.ts";

/**
 * Limits the frames that a client sends in addition to messages: pings and pongs of a WebSocket, and packets of
 * Engine.IO and Socket.IO that are no events. Each is a few bytes and costs microseconds, so a client that sends
 * nothing else could block the event loop for seconds. A client within its rate of requests sends far fewer.
 */
export class ControlFrames {
  readonly #parts: ControlFrameParts;
  readonly #rate: RateLimit;

  constructor(parts: ControlFrameParts, nowMs: number) {
    this.#parts = parts;
    this.#rate = new RateLimit(parts.limits.requestsPerSecond, parts.limits.requestBurst, nowMs);
  }

  /**
   * Takes one frame.
   * @returns Whether it is within the rate.
   */
  take(nowMs: number): boolean {
    if (this.#rate.take(1, nowMs)) return true;
    this.#parts.metrics.limitHits.inc({ limit: "controlFrames", outcome: "refused" });
    return false;
  }
}

/** "4": the packet of Engine.IO that carries one of Socket.IO. */
const MESSAGE = 0x34;

/**
 * The WebSocket server of Engine.IO, which terminates a WebSocket that exceeds the rate of control frames. Engine.IO
 * passes such a socket to its session only after a probe, so the session cannot apply the limit.
 */
export function engineSockets(
  parts: ControlFrameParts & GuardParts & { readonly compression: SharedCompression | null },
): new (
  options: ServerOptions,
) => WebSocketServer {
  return class extends WebSocketServer {
    constructor(options: ServerOptions) {
      // Engine.IO does not know of the compression, so it writes our frames as they are.
      super({ ...options, perMessageDeflate: deflateOptions(parts.compression) });
    }

    override handleUpgrade(
      ...[request, socket, head, accept]: Parameters<WebSocketServer["handleUpgrade"]>
    ): void {
      declineSmallWindows(request);
      super.handleUpgrade(request, socket, head, (accepted, from) => {
        boundControlFrames(accepted, parts);
        accept(accepted, from);
      });
    }
  };
}

function boundControlFrames(socket: WebSocket, parts: ControlFrameParts & GuardParts): void {
  const frames = new ControlFrames(parts, Date.now());
  const count = () => {
    if (socket.readyState === socket.OPEN && !frames.take(Date.now())) socket.terminate();
  };
  const received = (data: Buffer) => {
    freeInflater(socket);
    if (data[0] !== MESSAGE) count();
  };
  socket.on("ping", guarded(parts, "socketio.ping", count));
  socket.on("pong", guarded(parts, "socketio.pong", count));
  socket.on("message", guarded(parts, "socketio.frame", received));
}
