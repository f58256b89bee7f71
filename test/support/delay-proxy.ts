/** A TCP proxy as long as a continent: bytes take their time in each direction, and who spoke is written down. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** Bytes that one side of a connection sent, as they arrived at the proxy. */
interface Said {
  readonly by: "client" | "server";
  readonly text: string;
}

export class DelayProxy {
  readonly #target: number;
  readonly #delayMs: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #conversations: Said[][] = [];

  private constructor(target: number, delayMs: number) {
    this.#target = target;
    this.#delayMs = delayMs;
    this.#server = createServer((client) => this.#accept(client));
  }

  /** Listens on a port that the system picks, until the test has finished. */
  static async start(target: number, delayMs: number): Promise<DelayProxy> {
    const proxy = new DelayProxy(target, delayMs);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    onTestFinished(() => {
      proxy.cut();
      proxy.#server.close();
    });
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port; // a server on a port has an address with it
  }

  /** Ends every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /**
   * For each connection, how often the client had to wait for an answer until a text arrived: each time that the server
   * spoke after the client. Connections over which the text never came are left out.
   */
  roundTripsUntil(text: string): number[] {
    return this.#conversations.flatMap((said) => {
      const end = said.findIndex((part) => part.by === "server" && part.text.includes(text));
      if (end < 0) return [];
      return [
        said.slice(0, end + 1).filter(({ by }, at) => by === "server" && said[at - 1]?.by === "client")
          .length,
      ];
    });
  }

  #accept(client: Socket): void {
    const server = connect(this.#target, "127.0.0.1");
    const conversation: Said[] = [];
    this.#conversations.push(conversation);
    this.#pass(client, server, (text) => conversation.push({ by: "client", text }));
    this.#pass(server, client, (text) => conversation.push({ by: "server", text }));
  }

  #pass(from: Socket, to: Socket, note: (text: string) => void): void {
    this.#sockets.add(from);
    from.setNoDelay(true);
    from.on("data", (bytes: Buffer) => {
      note(bytes.toString("latin1"));
      setTimeout(() => to.write(bytes), this.#delayMs);
    });
    from.on("error", () => from.destroy());
    from.on("close", () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }
}
