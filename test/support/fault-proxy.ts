/** A TCP proxy that does to connections what networks, load balancers and middleboxes do to them. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { onTestFinished } from "vitest";

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  /** Silence: no byte passes any more, and no side is notified. */
  frozen: boolean;
  /** Arriving data is held until this time, in epoch milliseconds. */
  heldUntilMs: number;
  /** So many bytes still pass towards the client, and then it is cut. */
  bytesLeft: number;
}

/** The behaviour for new connections: normal, a cut, silence, or the answer of a load balancer without a backend. */
export type Welcome = "pass" | "refuse" | "silence" | "bad-gateway" | "no-websocket";

const BAD_GATEWAY =
  "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 20\r\nConnection: close\r\n\r\n<h1>Bad Gateway</h1>";

export class FaultProxy {
  /** Where new connections go. */
  target: number;
  welcome: Welcome = "pass";
  /** Faults that met a connection, by name. */
  readonly faults: Record<string, number> = {};
  connections = 0;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  readonly #lone = new Set<Socket>();

  private constructor(target: number) {
    this.target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  /** Listens on a port that the system picks, until the test is over. */
  static async start(target: number): Promise<FaultProxy> {
    const proxy = new FaultProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => proxy.stop());
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("not listening");
    return address.port;
  }

  get open(): number {
    return this.#pairs.size;
  }

  /** Both sides are notified at once. */
  cut(): boolean {
    return this.#each("cut", (pair) => end(pair));
  }

  /** Both sides believe that they are connected, but nothing passes. */
  freeze(): boolean {
    return this.#each("half-open", (pair) => {
      pair.frozen = true;
    });
  }

  /** The client loses its connection, the service does not: when the client is back, there are two of it. */
  duplicate(): boolean {
    return this.#each("duplicated connection", (pair) => {
      pair.frozen = true;
      pair.client.destroy();
    });
  }

  /** Data in transit arrives late. */
  delay(ms: number): boolean {
    return this.#each("delay", (pair) => {
      pair.heldUntilMs = Date.now() + ms;
    });
  }

  /** Cuts in the middle of what the service is saying. */
  cutAfter(bytes: number): boolean {
    return this.#each("cut inside a frame", (pair) => {
      pair.bytesLeft = bytes;
    });
  }

  /** Everything is well again; what hangs is cut. */
  heal(): void {
    this.welcome = "pass";
    for (const pair of this.#pairs) if (pair.frozen) end(pair);
    for (const socket of this.#lone) socket.destroy();
  }

  stop(): void {
    for (const pair of this.#pairs) end(pair);
    for (const socket of this.#lone) socket.destroy();
    this.#server.close();
  }

  #each(name: string, work: (pair: Pair) => void): boolean {
    const pairs = [...this.#pairs].filter(({ frozen }) => !frozen);
    for (const pair of pairs) {
      this.#count(name);
      work(pair);
    }
    return pairs.length > 0;
  }

  #count(name: string): void {
    this.faults[name] = (this.faults[name] ?? 0) + 1;
  }

  #accept(client: Socket): void {
    this.connections++;
    client.on("error", () => client.destroy());
    const { welcome } = this;
    if (welcome === "pass") {
      this.#forward(client);
      return;
    }
    if (welcome !== "no-websocket") this.#count(welcome);
    this.#lone.add(client);
    client.on("close", () => this.#lone.delete(client));
    if (welcome === "refuse") client.destroy();
    else if (welcome === "bad-gateway") client.once("data", () => client.end(BAD_GATEWAY));
    else if (welcome === "silence") client.resume();
    else {
      client.once("data", (first) => {
        if (/^upgrade:/im.test(String(first))) {
          this.#count("refused upgrade");
          client.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
          return;
        }
        this.#lone.delete(client);
        this.#forward(client, first as Buffer); // without an encoding, data comes as buffers
      });
    }
  }

  #forward(client: Socket, first?: Buffer): void {
    const server = connect(this.target, "127.0.0.1");
    const pair: Pair = { client, server, frozen: false, heldUntilMs: 0, bytesLeft: Number.POSITIVE_INFINITY };
    this.#pairs.add(pair);
    if (first !== undefined) server.write(first);
    this.#pipe(pair, client, server);
    this.#pipe(pair, server, client);
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on("error", () => end(pair));
      socket.on("close", () => {
        // The other side of a frozen pair does not get to know.
        if (!pair.frozen) end(pair);
        this.#pairs.delete(pair);
        if (pair.frozen) for (const other of [client, server]) if (!other.destroyed) this.#lone.add(other);
      });
    }
  }

  #pipe(pair: Pair, from: Socket, to: Socket): void {
    let queue = Promise.resolve();
    from.on("data", (data: Buffer) => {
      queue = queue.then(async () => {
        const waitMs = pair.heldUntilMs - Date.now();
        if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
        if (pair.frozen || to.destroyed) return;
        if (to === pair.client) {
          const passing = data.subarray(0, pair.bytesLeft);
          pair.bytesLeft -= passing.length;
          to.write(passing);
          if (pair.bytesLeft === 0) end(pair);
        } else to.write(data);
      });
    });
  }
}

function end({ client, server }: Pair): void {
  client.destroy();
  server.destroy();
}
