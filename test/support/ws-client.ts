/** A client of the wire protocol that hides nothing: for tests that ask what exactly arrives. */
import { once } from "node:events";
import { WebSocket } from "ws";
import type { ServerMessage } from "../../src/protocol/messages.ts";

export type Received = ServerMessage & Record<string, unknown>;

export interface ConnectOptions {
  readonly token?: string;
  readonly values?: "json" | "ejson";
  readonly headers?: Record<string, string>;
  /** Whom to trust, for TLS. */
  readonly ca?: string;
  /** Do not say hello. */
  readonly silent?: boolean;
}

/** For events that come at once, except where the machine is busy with something else. */
const PATIENCE_MS = 60_000;

export class WsClient {
  readonly socket: WebSocket;
  /** Everything that has arrived, in order. */
  readonly received: Received[] = [];
  closed: { code: number; reason: string } | undefined;
  onMessage: (message: Received) => void = () => {};
  readonly #waiting = new Set<(message: Received | undefined) => void>();

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("message", (data) => {
      const message: Received = JSON.parse(String(data));
      this.received.push(message);
      this.onMessage(message);
      for (const told of [...this.#waiting]) told(message);
    });
    socket.on("close", (code, reason) => {
      this.closed = { code, reason: String(reason) };
      for (const told of [...this.#waiting]) told(undefined);
    });
    socket.on("error", () => {});
  }

  /** Opens a socket and says hello; answers after `welcome`, or after the service has closed. */
  static async connect(url: string, options: ConnectOptions = {}): Promise<WsClient> {
    const socket = new WebSocket(url, ["tidewire.v1"], {
      headers: options.headers ?? {},
      ...(options.ca === undefined ? {} : { ca: options.ca }),
    });
    const client = new WsClient(socket);
    await once(socket, "open");
    if (options.silent === true) return client;
    client.send({
      type: "hello",
      ...(options.token === undefined ? {} : { token: options.token }),
      ...(options.values === undefined ? {} : { values: options.values }),
    });
    await client.until((message) => message.type === "welcome");
    return client;
  }

  send(message: object): void {
    this.socket.send(JSON.stringify(message));
  }

  /** The first message, from number `from` on, that fits; `undefined` when the connection has ended without it. */
  async until(
    fits: (message: Received) => boolean,
    from = 0,
    timeoutMs = PATIENCE_MS,
  ): Promise<Received | undefined> {
    const known = this.received.slice(from).find(fits);
    if (known !== undefined || this.closed !== undefined) return known;
    // By what arrives, not by its number: a client that runs for long forgets its first messages.
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        this.#waiting.delete(told);
      };
      const told = (message: Received | undefined) => {
        try {
          if (message !== undefined && !fits(message)) return;
          resolve(message);
        } catch (error) {
          reject(error);
        }
        end();
      };
      const timer = setTimeout(() => {
        end();
        const last = JSON.stringify(this.received.slice(-5));
        reject(new Error(`nothing fit in ${timeoutMs} ms; last: ${last}`));
      }, timeoutMs);
      this.#waiting.add(told);
    });
  }

  /** Sends a message and waits for the answer that bears the same `id`, or for an error. */
  async ask(message: { type: string; id: string } & Record<string, unknown>): Promise<Received> {
    const from = this.received.length;
    this.send(message);
    const answer = await this.until((got) => "id" in got && got["id"] === message.id, from);
    if (answer === undefined) throw new Error(`closed: ${JSON.stringify(this.closed)}`);
    return answer;
  }

  /** Waits until every change up to an operation time has arrived. */
  async fence(operationTime: { t: number; i: number }): Promise<Received> {
    const id = `fence-${Math.random()}`;
    return this.ask({
      type: "fence",
      id,
      operationTime: { $timestamp: { t: operationTime.t, i: operationTime.i } },
    });
  }

  async untilClosed(timeoutMs = PATIENCE_MS): Promise<{ code: number; reason: string }> {
    await this.until(() => false, this.received.length, timeoutMs);
    return this.closed!;
  }

  async close(): Promise<void> {
    if (this.closed !== undefined) return;
    this.socket.close();
    await this.untilClosed();
  }
}
