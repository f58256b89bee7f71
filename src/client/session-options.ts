import type { TidewireError } from "../protocol/errors.ts";
import type { ValueMode } from "../protocol/messages.ts";
import type { Fences } from "./fences.ts";
import type { Persistence } from "./persistence.ts";
import type { ReconnectOptions } from "./reconnect.ts";
import type { TokenProvider } from "./tokens.ts";
import type { Trace } from "./trace.ts";
import type { TransportKind, WebSocketConstructor } from "./transport.ts";
import type { TransportChoice } from "./transport-choice.ts";
import type { Warnings } from "./warnings.ts";

/** The state of the connection of a client. */
export interface ConnectionState {
  /** `idle`: no query is followed, so there is no connection. */
  readonly status: "idle" | "connecting" | "connected" | "offline" | "stopped";
  /** The transport in use, or the last one. */
  readonly transport: TransportKind;
  /** Why it has stopped, or why the last attempt failed. */
  readonly error: TidewireError | undefined;
}

/** The parts and settings of a session, with all defaults filled in. */
export interface SessionOptions {
  readonly url: string;
  /** `false`: connects only after `connect()`. */
  readonly autoConnect?: boolean | undefined;
  readonly token?: TokenProvider | undefined;
  readonly values: ValueMode;
  readonly WebSocket: WebSocketConstructor | undefined;
  /** `undefined`: only WebSockets. */
  readonly choice: TransportChoice | undefined;
  readonly fences: Fences | undefined;
  readonly reconnect?: ReconnectOptions | undefined;
  readonly connectTimeoutMs: number;
  readonly silenceMs: number;
  readonly random: () => number;
  readonly trace: Trace | undefined;
  readonly persistence: Persistence | undefined;
  readonly warnings: Warnings | undefined;
}
