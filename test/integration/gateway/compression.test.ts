/** `server.compression: shared`: one compressed form of each message for everybody who takes it, and no other way to look at it. */
import { once } from "node:events";
import { type AddressInfo, connect, type Socket } from "node:net";
import { deflateRawSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { deflateOptions, freeInflater } from "../../../src/gateway/transports/ws-compression.ts";
import { ask } from "../../support/http-client.ts";
import { signToken, startTestService, type TestServiceOptions } from "../../support/service.ts";

const COLLECTIONS = { things: { rules: [{ name: "all" }] } };
const LONG = "The same words again. ".repeat(100);
const OFFER = "permessage-deflate; client_max_window_bits";

async function start(server: Record<string, unknown> = {}, limits: TestServiceOptions["limits"] = {}) {
  const setup = await startTestService({
    collections: COLLECTIONS,
    server: { compression: "shared", ...server },
    limits,
  });
  const token = await signToken({ sub: "ada" });
  const things = setup.db.collection<{ _id: number; text: string }>("things");
  return { ...setup, token, things };
}

/** A WebSocket without a library: the answer to the handshake, and the frames as they come. */
class Bare {
  readonly #socket: Socket;
  #bytes = Buffer.alloc(0);
  headers = "";

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (data) => {
      this.#bytes = Buffer.concat([this.#bytes, data]);
    });
  }

  static async open(url: string, token: string, extensions?: string): Promise<Bare> {
    const { hostname, port, pathname } = new URL(url);
    const socket = connect(Number(port), hostname);
    onTestFinished(() => void socket.destroy());
    const bare = new Bare(socket);
    const lines = [
      `GET ${pathname} HTTP/1.1`,
      `Host: ${hostname}`,
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
      "Sec-WebSocket-Protocol: tidewire.v1",
      `Authorization: Bearer ${token}`,
      ...(extensions === undefined ? [] : [`Sec-WebSocket-Extensions: ${extensions}`]),
    ];
    socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    await bare.#until(() => bare.#bytes.includes("\r\n\r\n"));
    const end = bare.#bytes.indexOf("\r\n\r\n");
    bare.headers = bare.#bytes.toString("latin1", 0, end);
    bare.#bytes = bare.#bytes.subarray(end + 4);
    return bare;
  }

  /** Sends a text frame, masked with zeros. @param flags 0xc1 for a compressed one. */
  send(payload: Buffer | string, flags = 0x81): void {
    const bytes = Buffer.from(payload);
    const header = Buffer.alloc(8);
    header[0] = flags;
    header[1] = 0x80 | 126;
    header.writeUInt16BE(bytes.length, 2);
    this.#socket.write(Buffer.concat([header, bytes]));
  }

  /** The next frame: its first byte, and its payload. */
  async frame(): Promise<{ flags: number; payload: Buffer }> {
    await this.#until(() => this.#frameEnd() !== null);
    const { start, end } = this.#frameEnd()!;
    const frame = { flags: this.#bytes[0]!, payload: this.#bytes.subarray(start, end) };
    this.#bytes = this.#bytes.subarray(end);
    return frame;
  }

  #frameEnd(): { start: number; end: number } | null {
    if (this.#bytes.length < 4) return null;
    const short = this.#bytes[1]! & 0x7f;
    const start = short === 126 ? 4 : 2;
    const end = start + (short === 126 ? this.#bytes.readUInt16BE(2) : short);
    return this.#bytes.length < end ? null : { start, end };
  }

  async #until(isDone: () => boolean): Promise<void> {
    while (!isDone()) await once(this.#socket, "data", { signal: AbortSignal.timeout(20_000) });
  }
}

const subscribe = (id: string) =>
  JSON.stringify({ type: "subscribe", id, collection: "things", snapshot: false });
const isFrom = (type: string) => (payload: Buffer) => payload.includes(`"type":"${type}"`);

async function untilPlain(bare: Bare, type: string): Promise<void> {
  while (!isFrom(type)((await bare.frame()).payload));
}

test("two clients receive the same compressed bytes, and one that does not ask receives the text", async () => {
  const { url, token, things, service } = await start();
  const clients = await Promise.all([OFFER, OFFER, undefined].map((offer) => Bare.open(url, token, offer)));
  for (const [index, client] of clients.entries()) {
    expect(client.headers.includes("permessage-deflate")).toBe(index < 2);
    client.send(subscribe("a"));
    await untilPlain(client, "subscribed");
  }
  expect(clients[0]?.headers).toMatch(/server_no_context_takeover/);
  expect(clients[0]?.headers).toMatch(/client_no_context_takeover/);
  await things.insertOne({ _id: 1, text: LONG });
  const [first, second, plain] = await Promise.all(clients.map((client) => client.frame()));
  expect([first?.flags, second?.flags, plain?.flags]).toEqual([0xc1, 0xc1, 0x81]);
  expect(first?.payload).toEqual(second?.payload);
  expect(first!.payload.length).toBeLessThan(plain!.payload.length / 5);
  // Of three clients' worth, compressed once.
  const values = (await service.metrics.registry.getSingleMetric("tidewire_compression_bytes_total")?.get())
    ?.values;
  const bytes = (stage: string) => values?.find(({ labels }) => labels["stage"] === stage)?.value;
  expect(bytes("in")).toBeGreaterThan(LONG.length);
  expect(bytes("in")).toBeLessThan(LONG.length * 1.5);
  expect(bytes("out")).toBeLessThan(LONG.length / 5);
});

test("server.compressionMinBytes: a shorter message stays as it is", async () => {
  const { url, token, things } = await start({ compressionMinBytes: "1000B" });
  const client = await Bare.open(url, token, OFFER);
  client.send(subscribe("a"));
  await untilPlain(client, "subscribed");
  await things.insertOne({ _id: 1, text: LONG.slice(0, 500) });
  expect((await client.frame()).flags).toBe(0x81);
  await things.insertOne({ _id: 2, text: LONG });
  expect((await client.frame()).flags).toBe(0xc1);
});

test("a client that can only use a smaller window is served without compression", async () => {
  const { url, token } = await start();
  const client = await Bare.open(url, token, "permessage-deflate; server_max_window_bits=10");
  expect(client.headers).toMatch(/^HTTP\/1.1 101/);
  expect(client.headers).not.toMatch(/permessage-deflate/);
});

test.each([
  "permessage-deflate; server_max_window_bits=12, permessage-deflate",
  "permessage-deflate; server_max_window_bits=15",
])("a client that offers the full window as well is compressed: %s", async (offer) => {
  const { url, token } = await start();
  expect((await Bare.open(url, token, offer)).headers).toMatch(/permessage-deflate/);
});

test("a connection keeps no decompressor between the messages of its client", async () => {
  const server = new WebSocketServer({
    port: 0,
    host: "127.0.0.1",
    perMessageDeflate: deflateOptions({} as never),
  });
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const accepted = once(server, "connection");
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  onTestFinished(() => client.terminate());
  const [socket] = await accepted;
  const texts: string[] = [];
  socket.on("message", (data: Buffer) => {
    freeInflater(socket);
    texts.push(data.toString());
  });
  await once(client, "open");
  for (const text of [LONG, `${LONG} again`]) client.send(text);
  await expect.poll(() => texts).toEqual([LONG, `${LONG} again`]);
  expect(socket._extensions["permessage-deflate"]._inflate).toBeNull();
});

test("without the option nothing is compressed, whatever a client offers", async () => {
  const { url, token, service } = await start({ compression: "off" });
  const client = await Bare.open(url, token, OFFER);
  expect(client.headers).not.toMatch(/permessage-deflate/);
  const poll = `http://127.0.0.1:${service.address.port}/v1/poll?collection=things&wait=0`;
  const answer = await ask("GET", poll, { Authorization: `Bearer ${token}`, "Accept-Encoding": "gzip" });
  expect([answer.headers["content-encoding"], answer.headers.vary]).toEqual([undefined, "Origin"]);
});

test("limits.messageBytes: a message that is small until it is decompressed is refused like any large one", async () => {
  const { url, token } = await start({}, { messageBytes: "4KiB" });
  const client = await Bare.open(url, token, OFFER);
  await untilPlain(client, "welcome");
  client.send(
    deflateRawSync(JSON.stringify({ type: "ping", nonce: "1" }), { finishFlush: 2 }).subarray(0, -4),
    0xc1,
  );
  await untilPlain(client, "pong");
  const bomb = deflateRawSync(Buffer.alloc(10_000_000, 0x20), { finishFlush: 2 }).subarray(0, -4);
  expect(bomb.length).toBeLessThan(65_536);
  client.send(bomb, 0xc1);
  const { payload } = await client.frame();
  expect(payload.toString()).toMatch(/larger than limits\.messageBytes/);
  const close = await client.frame();
  expect([close.flags, close.payload.readUInt16BE(0)]).toEqual([0x88, 1009]);
});

test("snapshots and changes of a sorted and an unsorted query arrive whole", async () => {
  const { url, token, things } = await start();
  await things.insertMany(
    Array.from({ length: 3_000 }, (_, n) => ({ _id: n, text: `${n} ${LONG.slice(0, 300)} é` })),
  );
  const texts: string[] = [];
  for (const perMessageDeflate of [true, false]) {
    const socket = new WebSocket(url, ["tidewire.v1"], { perMessageDeflate });
    onTestFinished(() => socket.terminate());
    await once(socket, "open");
    let received = "";
    const docs = new Set<number>();
    const isWhole = new Promise<void>((resolve, reject) => {
      socket.once("close", () => reject(new Error(`closed after ${docs.size}: ${received.slice(-300)}`)));
      socket.on("message", (data) => {
        const message = JSON.parse(String(data));
        if (message.type !== "snapshot") return;
        received += JSON.stringify(message.docs);
        for (const { _id } of message.docs) docs.add(_id);
        if (message.last) resolve();
      });
    });
    socket.send(JSON.stringify({ type: "hello", token }));
    socket.send(JSON.stringify({ type: "subscribe", id: "s", collection: "things" }));
    await isWhole;
    expect(docs.size).toBe(3_000);
    texts.push(received);
    expect(socket.extensions).toBe(perMessageDeflate ? "permessage-deflate" : "");
  }
  expect(texts[0]).toBe(texts[1]);
});

test("a poll's answer comes in gzip, shared by all who accept it", async () => {
  const { service, token, things } = await start();
  await things.insertMany(Array.from({ length: 50 }, (_, n) => ({ _id: n, text: `${n} ${LONG}` })));
  const poll = `http://127.0.0.1:${service.address.port}/v1/poll?collection=things&wait=0`;
  const headers = { Authorization: `Bearer ${token}` };
  const plain = await ask("GET", poll, headers);
  for (const accepted of ["gzip", "br, gzip;q=0.5", "*"]) {
    const answer = await ask("GET", poll, { ...headers, "Accept-Encoding": accepted });
    expect([answer.headers["content-encoding"], answer.headers.vary]).toEqual([
      "gzip",
      "Origin, Accept-Encoding",
    ]);
    expect(answer.body["messages"]).toEqual(plain.body["messages"]);
  }
  expect([plain.headers["content-encoding"], plain.headers.vary]).toEqual([undefined, "Origin"]);
  for (const accepted of ["gzip;q=0, br", "gzip;q=0, *", "*;q=0", "identity"]) {
    const refused = await ask("GET", poll, { ...headers, "Accept-Encoding": accepted });
    expect(refused.headers["content-encoding"], accepted).toBeUndefined();
  }
});
