/** Socket.IO by hand, over a WebSocket: for frames that the library's own client would never send. */
import { once } from "node:events";
import { onTestFinished } from "vitest";
import { WebSocket } from "ws";

export class RawSocketIo {
  readonly socket: WebSocket;
  /** Packets of the engine, in order; its pings are answered. */
  readonly packets: string[] = [];
  isClosed = false;
  #waiting: (() => void)[] = [];

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("message", (data) => {
      const packet = String(data);
      if (packet === "2") socket.send("3");
      else this.packets.push(packet);
      this.#wake();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.isClosed = true;
      this.#wake();
    });
  }

  /** @param base Of the service, with `http:`. */
  static async open(base: string): Promise<RawSocketIo> {
    const socket = new WebSocket(`${base.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`);
    const client = new RawSocketIo(socket);
    onTestFinished(() => socket.terminate());
    await once(socket, "open");
    await client.until((packet) => packet.startsWith("0"));
    return client;
  }

  /** Opens a session and joins the default namespace. */
  static async join(base: string, token: string): Promise<RawSocketIo> {
    const client = await RawSocketIo.open(base);
    client.socket.send(`40${JSON.stringify({ token })}`);
    await client.until((packet) => packet.startsWith('42["welcome"'));
    return client;
  }

  /** The first packet, from number `from` on, that fits; `undefined` when the session has ended without it. */
  async until(fits: (packet: string) => boolean, from = 0): Promise<string | undefined> {
    for (let at = from; ; ) {
      for (; at < this.packets.length; at++) {
        const packet = this.packets[at] ?? "";
        if (fits(packet)) return packet;
      }
      if (this.isClosed) return undefined;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** The body of an event, as the service has sent it. */
export function bodyOf(packet: string | undefined): Record<string, unknown> {
  const at = packet?.indexOf("[") ?? -1;
  const [, body] = at < 0 ? [] : (JSON.parse(packet?.slice(at) ?? "") as [string, Record<string, unknown>]);
  return body ?? {};
}
