import type { TidewireError } from "../protocol/errors.ts";
import type { ConnectionState } from "./session-options.ts";
import type { TransportKind } from "./transport.ts";

/** The state of the connection. It is the same object as long as nothing changes, so that frameworks can compare it. */
export class StateHolder {
  readonly #onState: (state: ConnectionState) => void;
  #state: ConnectionState;

  constructor(transport: TransportKind, onState: (state: ConnectionState) => void) {
    this.#onState = onState;
    this.#state = { status: "idle", transport, error: undefined };
  }

  get state(): ConnectionState {
    return this.#state;
  }

  set(status: ConnectionState["status"], transport: TransportKind, error: TidewireError | undefined): void {
    const before = this.#state;
    if (before.status === status && before.transport === transport && before.error === error) return;
    this.#state = Object.freeze({ status, transport, error });
    this.#onState(this.#state);
  }
}
