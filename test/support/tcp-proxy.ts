/** A TCP proxy between the service and mongod: cuts, or goes silent as a frozen machine or a lost route does. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { onTestFinished } from "vitest";

export class TcpProxy {
  readonly #target: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #state: "forwarding" | "cut" | "frozen" = "forwarding";

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  /** Listens on a port that the system picks, until the test has finished. */
  static async start(target: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => proxy.#stop());
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("not listening");
    return address.port;
  }

  /** Ends every connection, and every new one at once. */
  cut(): void {
    this.#state = "cut";
    this.#destroyAll();
  }

  /** Half-open: connections stay, new ones are accepted, and not a byte passes in either direction. */
  freeze(): void {
    this.#state = "frozen";
    for (const socket of this.#sockets) socket.pause();
  }

  /** All is well again; connections that were frozen get what had been sent meanwhile, if they are still there. */
  resume(): void {
    this.#state = "forwarding";
    for (const socket of this.#sockets) socket.resume();
  }

  #accept(client: Socket): void {
    if (this.#state === "cut") {
      client.destroy();
      return;
    }
    const server = connect(this.#target, "127.0.0.1");
    this.#pass(client, server);
    this.#pass(server, client);
  }

  #pass(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.setNoDelay(true);
    from.on("data", (bytes: Buffer) => to.write(bytes));
    from.on("error", () => from.destroy());
    from.on("close", () => {
      this.#sockets.delete(from);
      to.destroy();
    });
    if (this.#state === "frozen") from.pause();
  }

  #destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #stop(): void {
    this.#destroyAll();
    this.#server.close();
  }
}
