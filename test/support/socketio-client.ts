/** The Socket.IO library's own client, and everything that it received, in order. */
import { io, type ManagerOptions, type Socket, type SocketOptions } from "socket.io-client";
import { eventually } from "../conformance/scenario.ts";
import type { Received } from "./ws-client.ts";

export type SocketIoOptions = Partial<ManagerOptions & SocketOptions>;

export class SocketIoClient {
  readonly socket: Socket;
  readonly received: Received[] = [];
  /** Why the service did not let it in, each time. */
  readonly refusals: (Error & { data?: Record<string, unknown> })[] = [];
  /** Reasons of the ends of connections, as the library words them. */
  readonly ends: string[] = [];
  onMessage: (message: Received) => void = () => {};

  /** Begins to connect. @param url Ends in the namespace. */
  constructor(url: string, options: SocketIoOptions = {}) {
    this.socket = io(url, { forceNew: true, transports: ["websocket"], ...options });
    this.socket.onAny((name: string, message: Received) => {
      if (message.type !== name) throw new Error(`the event ${name} bears ${JSON.stringify(message)}`);
      this.received.push(message);
      this.onMessage(message);
    });
    this.socket.on("connect_error", (error) => this.refusals.push(error));
    this.socket.on("disconnect", (reason) => this.ends.push(reason));
  }

  /** Connects; settles when it has been welcomed, or refused. */
  static async connect(url: string, options: SocketIoOptions = {}): Promise<SocketIoClient> {
    const client = new SocketIoClient(url, options);
    const isDone = () => client.received.length > 0 || client.refusals.length > 0;
    await eventually(isDone, "a welcome or a refusal");
    return client;
  }

  ofType(type: string): Received[] {
    return this.received.filter((message) => message.type === type);
  }

  /** Emits an event, and waits for what it is acknowledged with. */
  async ask(name: string, body: object = {}): Promise<Received> {
    return this.socket.timeout(60_000).emitWithAck(name, body);
  }

  async until(fits: (message: Received) => boolean, from = 0): Promise<Received> {
    await eventually(() => this.received.slice(from).some(fits), "a message that fits");
    return this.received.slice(from).find(fits)!;
  }

  /** Waits until every change up to an operation time has arrived. */
  async fence(operationTime: { t: number; i: number }): Promise<Received> {
    const { t, i } = operationTime;
    const answer = await this.ask("fence", { operationTime: { $timestamp: { t, i } } });
    // The event follows its acknowledgement.
    return this.until(({ type, id }) => type === "fenced" && id === answer["id"]);
  }

  close(): void {
    this.socket.disconnect();
  }
}
