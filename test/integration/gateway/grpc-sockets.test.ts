/** Calls in progress and incomplete requests of one connection of gRPC: both sides of their limits. */
import { once } from "node:events";
import { type ClientHttp2Session, constants } from "node:http2";
import { describe, expect, test } from "vitest";
import type { Service } from "../../../src/server.ts";
import { answerOf, dial, envelope, FENCE, FOLLOW, post } from "../../support/http2-calls.ts";
import { ERROR, FRAME, RawHttp2 } from "../../support/raw-http2.ts";
import { signToken, startTestService, type TestServiceOptions } from "../../support/service.ts";

const collections = { notes: { rules: [{ name: "owner", filter: { owner: "%%user.sub" } }] } };
const PATIENCE = { timeout: 60_000, interval: 50 };

const start = (options: Partial<TestServiceOptions> = {}) =>
  startTestService({ collections, ...options, server: { grpc: { port: 0 }, ...options.server } });

describe("calls in progress on one connection", () => {
  const limits = { callsPerSocket: 2 };
  const STREAM = { "content-type": "application/connect+json" };
  const authorized = async () => ({ ...STREAM, authorization: `Bearer ${await signToken({ sub: "ada" })}` });

  test("a client with as many as it may have makes the next one wait until one has ended", async () => {
    const { service } = await start({ limits });
    const session = dial(service);
    const headers = await authorized();
    const streams = [1, 2].map(() => post(session, FOLLOW, headers));
    for (const stream of streams) stream.end(envelope('{"collection":"notes"}'));
    await Promise.all(streams.map((stream) => once(stream, "data")));
    expect(session.remoteSettings.maxConcurrentStreams).toBe(limits.callsPerSocket);
    const next = post(session, FENCE);
    next.end("{}");
    let isAnswered = false;
    next.once("response", () => {
      isAnswered = true;
    });
    // A fence without a time is answered at once, and the answer to a ping follows what was sent before it.
    for (let count = 0; count < 3; count++) await new Promise((resolve) => session.ping(resolve));
    expect(isAnswered).toBe(false);
    streams[0]?.close(constants.NGHTTP2_CANCEL);
    expect((await answerOf(next)).text).toContain("operation_time");
    expect(streams[1]?.closed).toBe(false);
  });

  test.each([
    ["does not know the limit yet loses that call alone", false],
    ["knows the limit loses its connection", true],
  ])("a client with one more that %s, and other clients go on", async (_, isKnown) => {
    const { service } = await start({ limits });
    const { grpcAddress } = service;
    if (grpcAddress === null) throw new Error("the service does not serve gRPC");
    const others = post(dial(service), FOLLOW, await authorized());
    others.end(envelope('{"collection":"notes"}'));
    await once(others, "data");
    const client = await RawHttp2.dial(grpcAddress);
    const arrived = (type: number, stream: number) =>
      client.frames.some((frame) => frame.type === type && frame.stream === stream);
    const pseudo = { ":method": "POST", ":scheme": "http", ":path": FOLLOW, ":authority": "127.0.0.1" };
    const headers = { ...pseudo, ...(await authorized()) };
    const ask = () => client.request(headers, envelope('{"collection":"notes"}'));
    await expect.poll(() => arrived(FRAME.settings, 0), PATIENCE).toBe(true);
    if (isKnown) client.acceptSettings();
    const [first, second] = [ask(), ask()];
    for (const stream of [first, second])
      await expect.poll(() => arrived(FRAME.data, stream), PATIENCE).toBe(true);
    const third = ask();
    if (isKnown) {
      await expect.poll(() => client.errorOf(0), PATIENCE).toBe(ERROR.internal);
      await expect.poll(() => client.isClosed, PATIENCE).toBe(true);
    } else {
      await expect.poll(() => client.errorOf(third), PATIENCE).toBe(ERROR.refusedStream);
      expect([first, second, 0].map((stream) => client.errorOf(stream))).toEqual(Array(3).fill(undefined));
    }
    expect(arrived(FRAME.headers, third)).toBe(false);
    expect(others.closed).toBe(false);
    // The service has noticed the end of the calls, too.
    const streams = async () => (await service.metrics.connections.get()).values[0]?.value;
    await expect.poll(streams, PATIENCE).toBe(isKnown ? 1 : 3);
  });
});

describe("requests that have not arrived completely", () => {
  /** The service with room for 64 KiB of them on a connection. */
  const startSmall = () => start({ limits: { socketCallBytes: "64KiB", messageBytes: "32KiB" } });
  const heldBytes = async (service: Service) => (await service.metrics.callBytes.get()).values[0]?.value;
  /** A request of which this much arrives, and the end does not. */
  const begin = (session: ClientHttp2Session, bytes: Buffer, headers: object = {}) => {
    const call = post(session, FENCE, headers);
    call.write(bytes);
    return call;
  };
  const part = (bytes: number) => Buffer.alloc(bytes, " ");

  test.each([
    ["a Connect fence", FENCE, {}, "{}"],
    ["a Connect stream", FOLLOW, { "content-type": "application/connect+json" }, envelope("{}")],
    ["a gRPC fence", FENCE, { "content-type": "application/grpc+json", te: "trailers" }, envelope("{}")],
    ["a gRPC stream", FOLLOW, { "content-type": "application/grpc+json", te: "trailers" }, envelope("{}")],
  ] as const)(
    "%s is answered where the others leave room for it, and refused where they leave none",
    async (...given) => {
      const [, path, headers, body] = given;
      const { service } = await startSmall();
      const [full, other] = [dial(service), dial(service)];
      const spare = body.length;
      const waiting = [begin(full, part(32_768)), begin(full, part(32_768 - spare))];
      await expect.poll(() => heldBytes(service), PATIENCE).toBe(65_536 - spare);
      const ask = async (session: ClientHttp2Session, bytes: string | Buffer) => {
        const call = post(session, path, headers);
        let trailers = {};
        call.on("trailers", (received) => {
          trailers = received;
        });
        call.end(bytes);
        const [[head], { text }] = await Promise.all([once(call, "response"), answerOf(call)]);
        return JSON.stringify([head, trailers, text]);
      };
      expect(await ask(full, body)).toMatch(/tidewire-code.{1,6}bad-request/);
      // A byte more: of the body itself, or announced in front of it.
      const larger = typeof body === "string" ? `${body} ` : Buffer.from([0, 0, 0, 0, 3, 0x7b]);
      expect(await ask(full, larger)).toMatch(/tidewire-code.{1,6}too-many-requests/);
      // Neither the other calls of the connection nor other connections suffer.
      expect(await ask(other, body)).toMatch(/tidewire-code.{1,6}bad-request/);
      for (const call of waiting) call.end();
      expect((await Promise.all(waiting.map(answerOf))).map(({ text }) => JSON.parse(text).code)).toEqual([
        "invalid_argument",
        "invalid_argument",
      ]);
      expect(await heldBytes(service)).toBe(0);
    },
  );

  test("announced bytes count like those that have arrived, because the library makes room for them", async () => {
    const { service } = await startSmall();
    const session = dial(service);
    begin(session, part(1), { "content-length": 32_768 });
    const announced = Buffer.from([0, 0, 0, 0x7f, 0xfb]);
    const stream = { "content-type": "application/connect+json" };
    const [first, second] = [post(session, FOLLOW, stream), post(session, FOLLOW, stream)];
    // The length arrives in pieces.
    first.write(announced.subarray(0, 2));
    first.write(announced.subarray(2));
    await expect.poll(() => heldBytes(service), PATIENCE).toBe(65_536);
    second.write(announced.subarray(0, 1));
    expect((await answerOf(second)).text).toContain("socketCallBytes");
  });

  test("the bytes of calls that were given up no longer count", async () => {
    const { service } = await startSmall();
    const session = dial(service);
    const given = [begin(session, part(32_000)), begin(session, part(32_000))];
    await expect.poll(() => heldBytes(service), PATIENCE).toBe(64_000);
    given[0]?.close(constants.NGHTTP2_CANCEL);
    await expect.poll(() => heldBytes(service), PATIENCE).toBe(32_000);
    session.destroy();
    await expect.poll(() => heldBytes(service), PATIENCE).toBe(0);
  });

  test("a single request has room for a whole message, whatever the limit", async () => {
    const { service } = await start({ limits: { socketCallBytes: "1KiB", messageBytes: "32KiB" } });
    const call = begin(dial(service), part(32_768));
    call.end();
    expect(JSON.parse((await answerOf(call)).text).code).toBe("invalid_argument");
  });

  test("clients behind a trusted proxy do not share the limit of its connection", async () => {
    const { service } = await start({
      limits: { socketCallBytes: "32KiB", messageBytes: "32KiB" },
      server: { grpc: { port: 0 }, trustedProxies: ["127.0.0.1"] },
    });
    const proxy = dial(service);
    begin(proxy, part(32_768), { "x-forwarded-for": "192.0.2.1" });
    await expect.poll(() => heldBytes(service), PATIENCE).toBe(32_768);
    const ask = async (address: string) => {
      const call = post(proxy, FENCE, { "x-forwarded-for": address });
      call.end("{}");
      return (await answerOf(call)).text;
    };
    expect(await ask("192.0.2.1")).toContain("socketCallBytes");
    expect(await ask("192.0.2.2")).toContain("operation_time");
  });
});
