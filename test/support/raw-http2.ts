/** A client of HTTP/2 that sends what it likes. The client of Node keeps to the settings of the service. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";

export const FRAME = { data: 0, headers: 1, reset: 3, settings: 4, goAway: 7 } as const;
/** Errors of RFC 9113, section 7. */
export const ERROR = { internal: 2, refusedStream: 7 } as const;

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES = 9;
const END_STREAM = 1;
const END_HEADERS = 4;
const ACK = 1;
/** The largest length that HPACK writes into the byte of its flag. */
const SHORT = 127;

export interface Frame {
  readonly type: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export class RawHttp2 {
  readonly frames: Frame[] = [];
  readonly #socket: Socket;
  #rest: Buffer = Buffer.alloc(0);
  #stream = -1;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => this.#take(bytes));
    socket.on("error", () => {}); // a closed connection is a result
    onTestFinished(() => void socket.destroy());
  }

  static async dial(address: { readonly host: string; readonly port: number }): Promise<RawHttp2> {
    const socket = connect(address);
    const client = new RawHttp2(socket);
    await once(socket, "connect");
    socket.write(PREFACE);
    client.#write(FRAME.settings, 0, 0, Buffer.alloc(0));
    return client;
  }

  get isClosed(): boolean {
    return this.#socket.destroyed || this.#socket.readableEnded;
  }

  /** Says that the settings of the service count from now on. */
  acceptSettings(): void {
    this.#write(FRAME.settings, ACK, 0, Buffer.alloc(0));
  }

  /** Sends a whole request. @returns The number of its stream. */
  request(headers: Readonly<Record<string, string>>, body: Buffer): number {
    this.#stream += 2;
    const fields = Object.entries(headers).map(([name, value]) =>
      Buffer.concat([Buffer.from([0]), stringOf(name), stringOf(value)]),
    );
    this.#write(FRAME.headers, END_HEADERS, this.#stream, Buffer.concat(fields));
    this.#write(FRAME.data, END_STREAM, this.#stream, body);
    return this.#stream;
  }

  /** The error with which the service has ended a stream, or with stream 0 the connection. */
  errorOf(stream: number): number | undefined {
    const [type, at] = stream === 0 ? [FRAME.goAway, 4] : [FRAME.reset, 0];
    return this.frames
      .find((frame) => frame.type === type && frame.stream === stream)
      ?.payload.readUInt32BE(at);
  }

  #write(type: number, flags: number, stream: number, payload: Buffer): void {
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUIntBE(payload.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    this.#socket.write(Buffer.concat([head, payload]));
  }

  #take(bytes: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    while (this.#rest.length >= HEAD_BYTES) {
      const end = HEAD_BYTES + this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < end) return;
      const payload = this.#rest.subarray(HEAD_BYTES, end);
      this.frames.push({ type: this.#rest[3] ?? 0, stream: this.#rest.readUInt32BE(5), payload });
      this.#rest = this.#rest.subarray(end);
    }
  }
}

/** A string of HPACK, without the code of Huffman. */
function stringOf(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length < SHORT) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [SHORT];
  let left = bytes.length - SHORT;
  for (; left >= 128; left >>= 7) length.push((left & 127) | 128);
  return Buffer.concat([Buffer.from([...length, left]), bytes]);
}
