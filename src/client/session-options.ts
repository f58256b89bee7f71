import type { TidewireError } from "../protocol/errors.ts";
import type { ValueMode } from "../protocol/messages.ts";
import type { LiveResult } from "./live-result.ts";
import type { ReconnectOptions } from "./reconnect.ts";
import type { TokenProvider } from "./tokens.ts";
import type { Trace } from "./trace.ts";
import type { TransportKind, WebSocketConstructor } from "./transport.ts";

/** The state of the one connection of a client. */
export interface ConnectionState {
  /** `idle`: nobody follows anything, so there is none. */
  readonly status: "idle" | "connecting" | "connected" | "offline" | "stopped";
  /** The way it takes, or last took. */
  readonly transport: TransportKind;
  /** Why it has stopped, or why the last attempt failed. */
  readonly error: TidewireError | undefined;
}

/** The parts and settings of a session, all defaults filled in. */
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
  /** After so long on a second choice the first is tried again, in milliseconds. */
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
