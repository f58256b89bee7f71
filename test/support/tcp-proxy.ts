/** A TCP proxy before a mongod: cuts, closes its port, or goes silent as a frozen machine or a lost route does. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { onTestFinished } from "vitest";

type State = "forwarding" | "cut" | "frozen" | "swallowing";

export class TcpProxy {
  #target: number;
  readonly #sockets = new Set<Socket>();
  /** Sockets whose bytes go nowhere, for as long as they are open. */
  readonly #lost = new WeakSet<Socket>();
  #server: Server;
  #port = 0;
  #state: State = "forwarding";
  #firstAnswerDelayMs = 0;
  #delayMs = 0;

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  /** Listens on a port that the system picks, until the test has finished. */
  static async start(target: number): Promise<TcpProxy> {
    const proxy = await TcpProxy.open(target);
    onTestFinished(() => proxy.stop());
    return proxy;
  }

  /** As `start`, until `stop`. */
  static async open(target: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    await proxy.#listen();
    return proxy;
  }

  get port(): number {
    return this.#port;
  }

  /** Resets every connection, and every new one at once, before a TLS handshake completes. */
  cut(): void {
    this.#state = "cut";
    this.#resetAll();
  }

  /** Half-open: connections stay, new ones are accepted, and not a byte passes in either direction. */
  freeze(): void {
    this.#state = "frozen";
    for (const socket of this.#sockets) socket.pause();
  }

  /** As `freeze`, but what is sent meanwhile is lost: the connections of that time stay silent for ever. */
  swallow(): void {
    this.#state = "swallowing";
    for (const socket of this.#sockets) this.#lost.add(socket);
  }

  /** The server's first answer on each new connection arrives late by this time; later answers pass at once. */
  delayFirstAnswers(ms: number): void {
    this.#firstAnswerDelayMs = ms;
  }

  /** New connections lead to another port; open ones are reset. */
  redirect(target: number): void {
    this.#target = target;
    this.#resetAll();
  }

  /** All data arrive late by this time. A shorter time than before resets every connection, so that no data overtake others. */
  slowDown(ms: number): void {
    if (ms < this.#delayMs) this.#resetAll();
    this.#delayMs = ms;
  }

  /** Nobody listens any more, and all connections end. */
  closePort(): void {
    this.#server.close();
    this.#resetAll();
  }

  /** All is well again; connections that were frozen get what had been sent meanwhile, if they are still there. */
  async resume(): Promise<void> {
    this.#state = "forwarding";
    for (const socket of this.#sockets) socket.resume();
    if (!this.#server.listening) await this.#listen();
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  async #listen(): Promise<void> {
    this.#server = createServer((client) => this.#accept(client));
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    // A server on a port has an address with it.
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  #accept(client: Socket): void {
    if (this.#state === "cut") {
      client.on("error", () => {});
      client.resetAndDestroy();
      return;
    }
    const server = connect(this.#target, "127.0.0.1");
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      if (this.#state === "swallowing") this.#lost.add(socket);
      if (this.#state === "frozen") socket.pause();
    }
    if (this.#firstAnswerDelayMs > 0) this.#delay(server);
    this.#pass(client, server);
    this.#pass(server, client);
  }

  #delay(server: Socket): void {
    server.pause();
    setTimeout(() => {
      if (this.#state === "forwarding") server.resume();
    }, this.#firstAnswerDelayMs).unref();
  }

  #pass(from: Socket, to: Socket): void {
    from.setNoDelay(true);
    from.on("data", (bytes: Buffer) => {
      if (this.#lost.has(from)) return;
      if (this.#delayMs > 0) setTimeout(() => to.write(bytes), this.#delayMs);
      else to.write(bytes);
    });
    from.on("error", () => from.destroy());
    from.on("close", () => {
      this.#sockets.delete(from);
      to.destroy();
    });
    if (this.#state === "frozen") from.pause();
  }

  #resetAll(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }
}
