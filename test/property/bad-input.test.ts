/** [G6] No input, however wrong, does more than to be refused: the right code, no crash, no memory kept. */
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { expect, test } from "vitest";
import { COLLECTIONS } from "../conformance/shared-service.ts";
import { signToken, startTestService } from "../support/service.ts";
import type { Received, WsClient } from "../support/ws-client.ts";
import { anySample, firstSample, type Sample } from "./bad-input-samples.ts";
import { FUZZ_FACTOR, startSeed } from "./seed.ts";

const MESSAGES = 10_500 * FUZZ_FACTOR;
const ROUNDS = 5;
const BATCH = 100;
const FIRST_MESSAGES = 400 * FUZZ_FACTOR;
const CONVERSATIONS_AT_ONCE = 20;
/** The allowed growth per round after garbage collection: caches that fill, code that is compiled. */
const GROWTH_BYTES = 6 * 1_048_576;

/** More than the system's own buffers hold. */
const FLOOD_BYTES_MAX = 256 * 1_048_576;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void; // the flag puts it into new contexts

type Setup = Awaited<ReturnType<typeof start>>;

function start(limits: Record<string, unknown> = {}) {
  return startTestService({
    collections: COLLECTIONS,
    limits: { requestsPerSecond: 1_000_000, requestBurst: 1_000_000, fenceTimeout: "100ms", ...limits },
    auth: { helloTimeout: "3s" },
  });
}

const clip = (text: string) => text.slice(0, 200);
const ANSWERS = new Set(["error", "pong", "subscribed", "unsubscribed", "refreshed", "fenced"]);
const answersOf = (client: WsClient) => client.received.filter(({ type }) => ANSWERS.has(type));

/** Each message is answered once, none by `internal`; whatever is subscribed is let go of again. */
async function exchange(client: WsClient, samples: readonly Sample[]): Promise<Received[]> {
  const before = answersOf(client).length;
  for (const { text } of samples) client.socket.send(text);
  await client.until(() => answersOf(client).length >= before + samples.length);
  const answers = answersOf(client).slice(before);
  expect(client.closed, JSON.stringify(answers.at(-1))).toBeUndefined();
  expect(answers.filter((answer) => answer["code"] === "internal")).toEqual([]);
  const living = answers.filter(({ type }) => type === "subscribed");
  for (const { id } of living as (Received & { id: string })[]) {
    expect(await client.ask({ type: "unsubscribe", id })).toMatchObject({ type: "unsubscribed" });
  }
  client.received.length = 0;
  return answers;
}

/** The service answers somebody else, as if nothing had happened. */
async function expectAlive({ connect }: Setup): Promise<void> {
  const client = await connect({ sub: "witness" });
  client.send({ type: "ping", nonce: "alive" });
  expect(await client.until(({ type }) => type === "pong")).toMatchObject({ nonce: "alive" });
  await client.close();
}

function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

async function fuzzRound(
  setup: Setup,
  samples: readonly Sample[],
  counts: Map<string, number>,
): Promise<void> {
  let client = await setup.connect({ sub: "u1" });
  const messages: Sample[] = [];
  for (const sample of samples) {
    if (sample.isMessage) {
      messages.push(sample);
      continue;
    }
    // Data that is not a message ends the connection.
    const last = await setup.connect({ sub: "u2" });
    last.socket.send(sample.text);
    expect((await last.untilClosed()).code, clip(sample.text)).toBe(4400);
  }
  for (let at = 0; at < messages.length; at += BATCH) {
    for (const answer of await exchange(client, messages.slice(at, at + BATCH))) {
      const key = answer.type === "error" ? String(answer["code"]) : answer.type;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  }
  await client.close();
  client = await setup.connect({ sub: "u1" });
  await client.close();
  await expectAlive(setup);
}

test("[1] every message, however wrong, is answered once and by the right kind of code, and leaves nothing behind", async () => {
  const seed = startSeed("bad-input");
  const setup = await start();
  const counts = new Map<string, number>();
  const heaps: number[] = [];
  let id = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const samples = fc
      .sample(anySample, { numRuns: Math.ceil(MESSAGES / ROUNDS), seed: seed + round })
      .map((sample) => ({ ...sample, text: sample.text.replaceAll('"ID"', () => `"m${id++}"`) }));
    await fuzzRound(setup, samples, counts);
    heaps.push(heapBytes());
  }
  console.log(
    JSON.stringify(Object.fromEntries(counts)),
    heaps.map((bytes) => Math.round(bytes / 1_024)).join(),
  );
  // All that can be answered was.
  for (const code of ["bad-request", "bad-filter", "forbidden", "unknown-collection", "unauthenticated"]) {
    expect(counts.get(code), code).toBeGreaterThan(0);
  }
  for (const type of ["subscribed", "pong", "fenced"]) expect(counts.get(type), type).toBeGreaterThan(0);
  expect((heaps.at(-1) ?? 0) - (heaps[1] ?? 0)).toBeLessThan(GROWTH_BYTES);
});

test("[3.1] as a first message, whatever is no good hello closes with 4400, or 4401 where it brings a bad token", async () => {
  const seed = startSeed("bad-input, first");
  const setup = await start();
  const samples = fc.sample(firstSample, { numRuns: FIRST_MESSAGES, seed });
  const tryOne = async ({ text }: Sample) => {
    const client = await setup.connect(undefined, { silent: true });
    client.socket.send(text);
    const { code } = await client.untilClosed();
    expect([4400, 4401], clip(text)).toContain(code);
    expect(
      client.received.every(({ type }) => type === "error"),
      clip(text),
    ).toBe(true);
    expect(
      client.received.map((error) => error["code"]),
      clip(text),
    ).not.toContain("internal");
  };
  for (let at = 0; at < samples.length; at += CONVERSATIONS_AT_ONCE) {
    await Promise.all(samples.slice(at, at + CONVERSATIONS_AT_ONCE).map(tryOne));
  }
  await expectAlive(setup);
  await expect.poll(() => setup.service.readiness().connections).toBe(0);
});

/** A raw socket to the service; `received` is what came back. */
async function open({
  service,
}: Setup): Promise<{ socket: Socket; received: () => Buffer; closed: Promise<unknown> }> {
  const socket = connectTcp(service.address.port, "127.0.0.1");
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.once("close", resolve));
  await once(socket, "connect");
  return { socket, received: () => Buffer.concat(chunks), closed };
}

const UPGRADE = [
  "GET /v1/ws HTTP/1.1",
  "Host: x",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
].join("\r\n");

async function openWebSocket(setup: Setup) {
  const raw = await open(setup);
  raw.socket.write(`${UPGRADE}\r\n\r\n`);
  await expect.poll(() => raw.received().toString("latin1")).toContain("\r\n\r\n");
  const headerBytes = raw.received().indexOf("\r\n\r\n") + 4;
  return { ...raw, frames: () => raw.received().subarray(headerBytes) };
}

/** A client's frame, by default masked with zeros. */
function frame(
  first: number,
  payload: Buffer | string,
  { masked = true, length }: { masked?: boolean; length?: number } = {},
): Buffer {
  const bytes = Buffer.from(payload);
  const size = length ?? bytes.length;
  const header = Buffer.alloc(size < 126 ? 2 : size < 65_536 ? 4 : 10);
  header[0] = first;
  header[1] = (masked ? 0x80 : 0) | (size < 126 ? size : size < 65_536 ? 126 : 127);
  if (header.length === 4) header.writeUInt16BE(size, 2);
  if (header.length === 10) header.writeBigUInt64BE(BigInt(size), 2);
  return Buffer.concat([header, masked ? Buffer.alloc(4) : Buffer.alloc(0), bytes]);
}

/** A server's frames, which are not masked. */
function parseFrames(bytes: Buffer): { opcode: number; payload: Buffer }[] {
  const frames: { opcode: number; payload: Buffer }[] = [];
  for (let at = 0; at + 2 <= bytes.length; ) {
    const short = (bytes[at + 1] ?? 0) & 0x7f;
    const header = short < 126 ? 2 : short === 126 ? 4 : 10;
    const size =
      short === 126
        ? bytes.readUInt16BE(at + 2)
        : short === 127
          ? Number(bytes.readBigUInt64BE(at + 2))
          : short;
    const payload = bytes.subarray(at + header, at + header + size);
    frames.push({ opcode: (bytes[at] ?? 0) & 0x0f, payload });
    at += header + size;
  }
  return frames;
}

/** The service's last message, and the code with which it closed. */
function lastWords(bytes: Buffer): { error: Received | undefined; code: number | undefined } {
  const frames = parseFrames(bytes);
  const close = frames.findIndex(({ opcode }) => opcode === 8);
  const before = frames[close - 1];
  const error = before?.opcode === 1 ? (JSON.parse(before.payload.toString()) as Received) : undefined;
  return { error, code: frames[close]?.payload.readUInt16BE(0) };
}

const BAD_FRAMES: readonly (readonly [string, Buffer, number])[] = [
  ["an unmasked frame", frame(0x81, "{}", { masked: false }), 1002],
  ["reserved bits", frame(0xf1, "{}"), 1002],
  ["a reserved opcode", frame(0x83, "{}"), 1002],
  ["a reserved control opcode", frame(0x8b, ""), 1002],
  ["a continuation of nothing", frame(0x80, "{}"), 1002],
  ["a new message inside another", Buffer.concat([frame(0x01, "{"), frame(0x01, "{")]), 1002],
  ["a fragmented ping", frame(0x09, "x"), 1002],
  ["a ping that is too long", frame(0x89, "x".repeat(126)), 1002],
  ["a close frame of one byte", frame(0x88, "x"), 1002],
  ["a close frame with a code that nobody sends", frame(0x88, Buffer.from([0x03, 0xed])), 1002],
  ["bytes that are no UTF-8", frame(0x81, Buffer.from([0xc3, 0x28])), 1007],
  ["a length of 2^63", frame(0x81, "", { length: 2 ** 62 }), 1009],
  ["a length of 1 GiB", frame(0x81, "x", { length: 2 ** 30 }), 1009],
];

test("[5] frames that break the protocol are answered with an error, close with the code of RFC 6455, and their sockets go", async () => {
  const setup = await start();
  for (const [what, bytes, code] of BAD_FRAMES) {
    const { socket, frames, closed } = await openWebSocket(setup);
    socket.write(bytes);
    await closed;
    const words = lastWords(frames());
    expect(words, what).toMatchObject({
      code,
      error: { type: "error", code: "bad-request", retry: "never" },
    });
  }
  await expect.poll(() => setup.service.readiness().connections).toBe(0);
  await expectAlive(setup);
});

test("[5] random bytes, as HTTP or as frames, are refused and forgotten", async () => {
  const seed = startSeed("bad-input, bytes");
  const setup = await start();
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 400 }).map((array) => Buffer.from(array));
  const lines = fc.array(
    fc.constantFrom(
      "GET / HTTP/1.1",
      "Host: x",
      "Transfer-Encoding: chunked",
      "Content-Length: -1",
      "Content-Length: 5",
      "Upgrade: websocket",
      "Connection: Upgrade",
      "\0",
      ": x",
      "A".repeat(20_000),
      "GET /v1/ws HTTP/9.9",
      "Sec-WebSocket-Key: ",
      "Expect: 100-continue",
    ),
    { maxLength: 8 },
  );
  const http = lines.map((list) => Buffer.from(`${list.join("\r\n")}\r\n\r\n`));
  const tryHttp = async (input: Buffer) => {
    const { socket, received, closed } = await open(setup);
    socket.end(input);
    await closed;
    expect(received().toString("latin1")).not.toMatch(/^HTTP\/1\.1 (101|2|5)/);
  };
  const tryFrames = async (input: Buffer) => {
    const { socket, closed } = await openWebSocket(setup);
    socket.end(input);
    await closed;
  };
  const inputs = [
    ...fc.sample(fc.oneof(bytes, http), { numRuns: 150, seed }).map((input) => () => tryHttp(input)),
    ...fc.sample(bytes, { numRuns: 100, seed }).map((input) => () => tryFrames(input)),
  ];
  for (let at = 0; at < inputs.length; at += CONVERSATIONS_AT_ONCE) {
    await Promise.all(inputs.slice(at, at + CONVERSATIONS_AT_ONCE).map((tryOne) => tryOne()));
  }
  await expect.poll(() => setup.service.readiness().connections).toBe(0);
  await expectAlive(setup);
});

test("[3.1] sockets that are opened and left hanging, at any point, are ended", async () => {
  const setup = await start();
  const begun = await Promise.all(
    [
      `${UPGRADE}\r\n\r\n`, // no hello
      Buffer.concat([Buffer.from(`${UPGRADE}\r\n\r\n`), frame(0x01, '{"type":"hel')]), // half a message
      Buffer.concat([Buffer.from(`${UPGRADE}\r\n\r\n`), frame(0x81, "{").subarray(0, 3)]), // half a frame
      `${UPGRADE.replace("websocket", "h2c")}\r\n\r\n`, // no WebSocket
      `${UPGRADE.replace("/v1/ws", "/v1/nothing")}\r\n\r\n`, // nothing of ours
    ].map(async (bytes) => {
      const raw = await open(setup);
      raw.socket.write(bytes);
      return raw;
    }),
  );
  await Promise.all(begun.map(({ closed }) => closed));
  await expect.poll(() => setup.service.readiness().connections).toBe(0);
});

test("[G6] a client that sends requests and pings without reading is not read either, and its queued data is bounded", async () => {
  const setup = await start({ outboxBytes: "64KiB", stallTimeout: "60s" });
  const token = await signToken({ sub: "u1" });
  const floods = [
    frame(0x89, "x".repeat(100)),
    frame(0x81, JSON.stringify({ type: "ping", nonce: "x".repeat(190) })),
  ];
  const sockets: Socket[] = [];
  for (const one of floods) {
    const { socket } = await openWebSocket(setup);
    sockets.push(socket);
    socket.write(frame(0x81, JSON.stringify({ type: "hello", token })));
    // More early messages than the limit would end the connection, so the cost of a lasting connection would not be measured.
    await once(socket, "data");
    socket.pause();
    const block = Buffer.concat(Array<Buffer>(300).fill(one));
    const sent = { bytes: 0 };
    // Until the service takes no more: its reading has stopped, and the system's buffers are full.
    const stop = Date.now() + 30_000;
    while (Date.now() < stop && sent.bytes < FLOOD_BYTES_MAX) {
      if (socket.write(block)) {
        sent.bytes += block.length;
        await new Promise(setImmediate);
        continue;
      }
      sent.bytes += block.length;
      const drained = await Promise.race([
        once(socket, "drain").then(() => true),
        new Promise<false>((resolve) => setTimeout(() => resolve(false), 1_000)),
      ]);
      if (!drained) break;
    }
    const metrics = await setup.service.metrics.registry.getSingleMetricAsString("tidewire_outbox_bytes");
    const waiting = Number(/^tidewire_outbox_bytes (\d+)/m.exec(metrics)?.[1]);
    expect(sent.bytes).toBeLessThan(FLOOD_BYTES_MAX);
    // One read's worth of requests may be answered beyond the bound, for each that floods.
    expect(waiting).toBeLessThan(sockets.length * (64 * 1_024 + 1_048_576));
    await expectAlive(setup);
  }
  for (const socket of sockets) socket.destroy();
  await expect.poll(() => setup.service.readiness().connections).toBe(0);
});
