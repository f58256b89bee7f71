/** A connection's clocks, with the time in the test's hand. */
import { pino } from "pino";
import { beforeEach, expect, test, vi } from "vitest";
import { AuthOptions } from "../../../src/auth/options.ts";
import { subjectOf } from "../../../src/auth/subject.ts";
import type { Identity } from "../../../src/auth/verify-token.ts";
import { Account } from "../../../src/feed/account.ts";
import { Advances } from "../../../src/feed/advances.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { openConnection } from "../../../src/gateway/connection/open-connection.ts";
import type { GatewayContext } from "../../../src/gateway/context.ts";
import { GatewayLimits } from "../../../src/gateway/limits.ts";
import { ServerOptions } from "../../../src/gateway/options.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { FakeTransport } from "./fake-transport.ts";

const START_MS = 1_700_000_000_000;
const TICK_MS = 1_000;

beforeEach(() => {
  vi.useFakeTimers({ now: START_MS });
  return () => vi.useRealTimers();
});

const identity = (expiresAtMs: number): Identity => ({
  claims: {},
  sub: "u",
  subject: subjectOf({ sub: "u" }),
  expiresAtMs,
  issuedAtMs: null,
  tokenId: null,
  signedBy: "key",
});

function connect(server: object = {}, auth: object = {}) {
  const transport = new FakeTransport();
  const context = {
    node: "n",
    server: ServerOptions.parse(server),
    limits: GatewayLimits.parse({}),
    auth: AuthOptions.parse({ anonymous: true, ...auth }),
    trust: { refusalOf: () => null },
    feed: {
      timeline: { isReady: true, isSettled: true, codec: { epoch: "" } },
      cursors: {
        published: { cursor: "head", position: { clusterTime: 1n, within: 0 } },
        publishedReached: (_time: object, _isSent: object, timeoutMs: number, gone?: AbortSignal) =>
          new Advances().until(() => false, timeoutMs, timeoutMs, gone),
      },
    },
    log: pino({ level: "silent" }),
    metrics: createMetrics(),
    ticketTerms: { maxAgeMs: 86_400_000, clockToleranceMs: 0 },
    lostRights: { known: () => null },
  } as unknown as GatewayContext; // what clocks need, and no more
  const account = new Account(FeedLimits.parse({}), () => {});
  const events = { onIdentified: () => account, onClosed: () => {} };
  const { connection, inbox, clock } = openConnection(context, transport, "a", events, START_MS);
  /** Lets time pass, looking at the clock as the gateway does. */
  const pass = (ms: number, meanwhile: () => void = () => {}) => {
    for (let at = 0; at < ms && transport.closedWith === undefined; at += TICK_MS) {
      vi.advanceTimersByTime(TICK_MS);
      meanwhile();
      clock.tick({ nowMs: Date.now(), readMs: Date.now(), everyMs: TICK_MS });
    }
  };
  const tick = (times: { nowMs: number; readMs: number }) => clock.tick({ ...times, everyMs: TICK_MS });
  return { transport, connection, inbox, pass, tick };
}

const read = (transport: FakeTransport) => () => transport.drain();
const lastError = ({ sent }: FakeTransport) => sent.findLast(({ type }) => type === "error");

test("[3.1] waits for hello as long as auth.helloTimeout, and then closes with 4408", () => {
  const { transport, pass } = connect();
  pass(4_000);
  expect(transport.closedWith).toBeUndefined();
  pass(1_000);
  expect(transport.closedWith).toBe(4408);
});

test("a client whose hello waits to be read after a long pause of the process has as long as that takes", () => {
  const { transport, tick } = connect();
  tick({ nowMs: Date.now() + 60_000, readMs: Date.now() });
  expect(transport.closedWith).toBeUndefined();
  tick({ nowMs: Date.now() + 61_000, readMs: Date.now() + 60_000 });
  expect(transport.closedWith).toBe(4408);
});

test("[6] a client that was not heard because of a long pause of the process is not closed before it is", () => {
  const { transport, connection, pass, tick } = connect({ heartbeatMs: 1_000, pongTimeoutMs: 1_000 });
  connection.welcome(null);
  while (!transport.calls.includes("ping")) pass(TICK_MS, read(transport));
  const startMs = Date.now();
  transport.drain();
  tick({ nowMs: startMs + 60_000, readMs: startMs });
  expect(transport.closedWith).toBeUndefined();
  transport.drain();
  tick({ nowMs: startMs + 61_000, readMs: startMs + 60_000 });
  expect(transport.closedWith).toBe(4000);
});

test("[6] pings within the first heartbeat and once in each, and waits pongTimeout for any sign of life", () => {
  const { transport, connection, inbox, pass } = connect({ heartbeatMs: 25_000, pongTimeoutMs: 10_000 });
  connection.welcome(null);
  const pings = () => transport.calls.filter((call) => call === "ping").length;
  const passUntilPing = (count: number) => {
    const startMs = Date.now();
    while (pings() < count && Date.now() - startMs < 60_000) pass(TICK_MS, read(transport));
    expect(pings()).toBe(count);
    return Date.now() - startMs;
  };
  // The moment of the first is drawn by lot.
  expect(passUntilPing(1)).toBeLessThanOrEqual(25_000);
  inbox.heard();
  expect(passUntilPing(2)).toBe(25_000);
  pass(9_000, read(transport));
  expect(transport.closedWith).toBeUndefined();
  pass(1_000, read(transport));
  expect(transport.closedWith).toBe(4000);
  expect(lastError(transport)).toMatchObject({ code: "unavailable", retry: "now" });
});

test("[6] does not time out a client whose ping is still queued behind unread data: the stall timeout applies", () => {
  const { transport, connection, pass } = connect({ heartbeatMs: 1_000, pongTimeoutMs: 1_000 });
  connection.welcome(null);
  transport.bufferedBytes = 500_000;
  pass(300_000, () => transport.drain(1_000)); // slow, but reading
  expect(transport.closedWith).toBeUndefined();
  transport.drain();
  pass(5_000, read(transport));
  expect(transport.closedWith).toBe(4000);
});

test("[6] a client that drains nothing for stallTimeout is terminated, whatever it sends meanwhile", () => {
  const { transport, connection, inbox, pass } = connect();
  connection.welcome(null);
  transport.bufferedBytes = 10_000;
  const speak = () => inbox.heard();
  pass(60_000, speak);
  expect(transport.calls).not.toContain("terminate");
  pass(2_000, speak);
  expect(transport.calls).toContain("terminate");
  expect(connection.isClosed).toBe(true);
});

test("[3.2] a watermark comes within every heartbeat, also beside answers", () => {
  const { transport, connection, inbox, pass } = connect({ heartbeatMs: 10_000 });
  connection.welcome(null);
  const times: number[] = [];
  pass(200_000, () => {
    transport.drain();
    inbox.heard();
    connection.send({ type: "pong" });
    if (transport.sent.some(({ type }) => type === "watermark")) times.push(Date.now());
    transport.sent.length = 0;
  });
  expect(times.length).toBeGreaterThanOrEqual(20);
  for (const [index, time] of times.entries()) {
    // Seen one look after it was sent.
    expect(time - (times[index - 1] ?? START_MS)).toBeLessThanOrEqual(10_000 + TICK_MS);
  }
});

test("[5] a connection is closed with 4002 at server.maxConnectionAge, in words first", () => {
  const { transport, connection, inbox, pass } = connect({ maxConnectionAgeMs: 60_000 });
  connection.welcome(null);
  const speak = () => {
    transport.drain();
    inbox.heard();
  };
  pass(59_000, speak);
  expect(transport.closedWith).toBeUndefined();
  pass(1_000, speak);
  expect(transport.closedWith).toBe(4002);
  expect(lastError(transport)).toMatchObject({ code: "unavailable", retry: "now" });
});

test("[3.1] announces the token's expiry once, in time, and closes at it to the millisecond", () => {
  const jwt = [{ algorithms: ["HS256"], secret: "x".repeat(40), clockToleranceMs: 5_000 }];
  const { transport, connection, inbox, pass } = connect({}, { jwt, expiryNoticeMs: 60_000 });
  connection.welcome(identity(START_MS + 120_300));
  expect(connection.login.expiresAtMs).toBe(START_MS + 125_300);
  const speak = () => {
    transport.drain();
    inbox.heard();
  };
  pass(65_000, speak);
  expect(transport.sent.filter(({ type }) => type === "expiring")).toEqual([]);
  pass(60_000, speak);
  expect(transport.sent.filter(({ type }) => type === "expiring")).toEqual([
    { type: "expiring", inMs: 59_300 },
  ]);
  expect(transport.closedWith).toBeUndefined();
  vi.advanceTimersByTime(299);
  expect(transport.closedWith).toBeUndefined();
  vi.advanceTimersByTime(1);
  expect(transport.closedWith).toBe(4100);
  expect(lastError(transport)).toMatchObject({ code: "unauthenticated", retry: "token" });
});

test("[3.1] a newer token moves the expiry, which is announced again", () => {
  const { transport, connection, inbox, pass } = connect({}, { expiryNoticeMs: 10_000 });
  connection.welcome(identity(START_MS + 20_000));
  const speak = () => {
    transport.drain();
    inbox.heard();
  };
  pass(15_000, speak);
  connection.login.replace(identity(START_MS + 60_000));
  pass(30_000, speak);
  expect(transport.closedWith).toBeUndefined();
  pass(15_000, speak);
  expect(transport.closedWith).toBe(4100);
  expect(transport.sent.filter(({ type }) => type === "expiring")).toHaveLength(2);
});

test("after its end a connection says nothing more and hears nothing more", () => {
  const { transport, connection, inbox, pass } = connect();
  connection.welcome(null);
  connection.close(4202, "drained");
  const said = transport.sent.length;
  inbox.receive({ fields: { type: "ping" }, bytes: 15 }, Date.now());
  connection.send({ type: "pong" });
  connection.progress.sendWatermark();
  pass(120_000);
  expect(transport.sent).toHaveLength(said);
});

test.for<[string, (setup: ReturnType<typeof connect>) => void]>([
  ["its client leaves", ({ connection }) => connection.transportEnded(null)],
  ["the service closes it", ({ connection }) => connection.close(4202, "drained")],
  ["the service cuts it off", ({ connection }) => connection.terminate(1012)],
])("[3.1] a fence that waits ends with its connection: %s", async ([, end]) => {
  const setup = connect();
  const { transport, connection, inbox } = setup;
  connection.welcome(null);
  const timersBefore = vi.getTimerCount();
  const operationTime = { $timestamp: { t: 1_800_000_000, i: 1 } };
  inbox.receive({ fields: { type: "fence", id: "f", operationTime }, bytes: 100 }, Date.now());
  expect(vi.getTimerCount()).toBeGreaterThan(timersBefore);
  end(setup);
  await vi.advanceTimersByTimeAsync(0);
  transport.drain();
  expect(vi.getTimerCount()).toBe(timersBefore);
  expect(transport.sent.filter((message) => "id" in message && message.id === "f")).toEqual([]);
});

/** A connection whose token is verified when `verified` is called. */
function verifying() {
  const setup = connect();
  let verified: () => void = () => {};
  const who = new Promise<null>((resolve) => {
    verified = () => resolve(null);
  });
  const welcomed = setup.inbox.authenticateByRequest(() => who);
  /** Sends a ping that counts as so many bytes. */
  const send = (nonce: number, bytes = 15) =>
    setup.inbox.receive({ fields: { type: "ping", nonce }, bytes }, Date.now());
  return { ...setup, verified, welcomed, send };
}

test("[3.1] limits.earlyMessages: so many messages wait for the check of a token, and are answered in order after welcome", async () => {
  const { transport, verified, welcomed, send } = verifying();
  for (let nonce = 0; nonce < 32; nonce++) send(nonce);
  expect(transport.sent).toEqual([]);
  verified();
  await welcomed;
  send(32);
  expect(transport.sent.map((message) => (message.type === "pong" ? message.nonce : message.type))).toEqual([
    "welcome",
    ...Array.from({ length: 33 }, (_, nonce) => nonce),
  ]);
});

test("[3.1] one early message more closes with 4400, and none of them is answered", async () => {
  const { transport, verified, welcomed, send } = verifying();
  for (let nonce = 0; nonce < 33; nonce++) send(nonce);
  expect(transport.closedWith).toBe(4400);
  verified();
  await welcomed;
  expect(transport.sent).toMatchObject([
    { type: "error", code: "bad-request", details: { limit: "earlyMessages", value: 32 } },
  ]);
});

test("[3.1] early messages take four times limits.messageBytes together; one byte more closes with 4400", async () => {
  const fits = verifying();
  for (let nonce = 0; nonce < 4; nonce++) fits.send(nonce, 65_536);
  expect(fits.transport.closedWith).toBeUndefined();
  fits.verified();
  await fits.welcomed;
  expect(fits.transport.sent).toHaveLength(5);
  const over = verifying();
  for (const bytes of [65_536, 65_536, 65_536, 65_530, 7]) over.send(0, bytes);
  expect(over.transport.closedWith).toBe(4400);
  expect(over.transport.sent).toMatchObject([{ details: { limit: "messageBytes", value: 65_536 } }]);
});
