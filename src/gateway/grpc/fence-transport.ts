import type { ConnectError } from "@connectrpc/connect";
import type { CloseCode } from "../../protocol/close-codes.ts";
import type { ErrorMessage, ServerMessage } from "../../protocol/messages.ts";
import type { Transport } from "../connection/transport.ts";
import { NOT_SERVED } from "../transports/http-exchange.ts";
import { toCallError } from "./call-error.ts";

/** A connection that asks for one fence and has no stream. Nothing waits in it. */
export class FenceTransport implements Transport {
  readonly kind = "grpc";
  readonly compression = null;
  readonly bufferedBytes = 0;
  readonly takenBytes = 0;
  /** The cursor of the answer; rejects with the status of the call. */
  readonly cursor: Promise<string>;
  #settle: (cursor: string) => void = () => {};
  #fail: (error: ConnectError) => void = () => {};

  constructor() {
    this.cursor = new Promise((settle, fail) => {
      this.#settle = settle;
      this.#fail = fail;
    });
    this.cursor.catch(() => {}); // the call that waits for it reports the error
  }

  write(): void {}

  send(message: ServerMessage): void {
    if (message.type === "fenced") this.#settle(message.cursor);
    else if (message.type === "error") this.#refuse(message);
  }

  async flushed(): Promise<void> {}

  ping(): boolean {
    return false;
  }

  pong(): void {}

  pause(): void {}

  resume(): void {}

  /** The call was cancelled, or its deadline has passed. */
  refuse(error: ConnectError): void {
    this.#fail(error);
  }

  close(_code: CloseCode, _reason: string): void {
    this.#refuse(NOT_SERVED);
  }

  terminate(): void {
    this.#refuse(NOT_SERVED);
  }

  #refuse(error: ErrorMessage): void {
    this.#fail(toCallError(error));
  }
}
