import type { TidewireError } from "../protocol/errors.ts";
import type { ValueMode } from "../protocol/messages.ts";
import type { LiveResult } from "./live-result.ts";
import type { ReconnectOptions } from "./reconnect.ts";
import type { TokenProvider } from "./tokens.ts";
import type { Trace } from "./trace.ts";
import type { TransportKind, WebSocketConstructor } from "./transport.ts";

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
  readonly token: TokenProvider | undefined;
  readonly values: ValueMode;
  /** In the order in which they are tried. */
  readonly transports: readonly TransportKind[];
  readonly WebSocket: WebSocketConstructor | undefined;
  readonly fetch: typeof fetch;
  readonly reconnect: ReconnectOptions;
  readonly connectTimeoutMs: number;
  readonly silenceMs: number;
  /** After this time on another transport, the first one is tried again, in milliseconds. */
  readonly upgradeAfterMs: number;
  readonly random: () => number;
  readonly trace: Trace | undefined;
  readonly onState: (state: ConnectionState) => void;
  /** The connection has ended with this error, and the client resumes by itself. */
  readonly onRecovering: (error: TidewireError) => void;
  /** The kept copy of the result is void. */
  readonly onEnded: (result: LiveResult) => void;
  /** The page is about to be frozen or closed. */
  readonly onHidden: () => void;
}
