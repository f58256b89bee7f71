/** The pace of a client: whatever it is asked to send, the service never refuses it for its rate. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { RequestQueue } from "../../../src/client/request-queue.ts";
import { RateLimit } from "../../../src/gateway/connection/rate-limit.ts";
import type { ClientMessage, WelcomeMessage } from "../../../src/protocol/messages.ts";
import {
  EARLY_LARGEST_MESSAGES,
  EARLY_MESSAGES,
  MESSAGE_BYTES,
  REQUEST_BURST,
  REQUESTS_PER_SECOND,
  requestCost,
} from "../../../src/protocol/request-limits.ts";
import { startSeed } from "../../property/seed.ts";
import { Random } from "../../support/random.ts";

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }));
afterEach(() => void vi.useRealTimers());

const WELCOME = { limits: {} } as WelcomeMessage;
/** As long as cursors and tickets are. */
const RESUMED = { cursor: "c".repeat(27), ticket: "t".repeat(330) };

/** A service that charges as `RequestRates` does: for each message by its bytes. */
function start() {
  const bucket = new RateLimit(REQUESTS_PER_SECOND, REQUEST_BURST, Date.now());
  const early: number[] = [];
  const got = { sent: 0, refused: 0, isWelcome: false };
  const charge = (cost: number) => {
    if (!bucket.take(cost, Date.now())) got.refused++;
  };
  const queue = new RequestQueue((message) => {
    got.sent++;
    const cost = requestCost(Buffer.byteLength(JSON.stringify(message)));
    if (got.isWelcome) charge(cost);
    else early.push(cost);
  });
  const welcome = () => {
    got.isWelcome = true;
    charge(3); // `hello` with its token
    for (const cost of early) charge(cost);
    queue.welcome(WELCOME, Date.now());
    queue.ready();
  };
  const add = (text: string, rest: object = {}) => {
    const request = { collection: "items", filter: { text } };
    const message = { type: "subscribe", id: "q1", ...request, ...rest } as ClientMessage;
    queue.add(() => message, JSON.stringify(request));
  };
  return { queue, got, welcome, add };
}

test.each<[string, (n: number) => string]>([
  ["small ones", () => "x"],
  ["large ones", () => "x".repeat(60_000)],
  ["small ones and then a large one", (n) => "x".repeat(n % 50 === 49 ? 60_000 : 1)],
  ["texts of which each character takes three bytes", () => "語".repeat(1_500)],
  ["texts with characters outside of the basic plane", () => "😀".repeat(900)],
  ["texts that are just large enough to cost more with their tickets", () => "x".repeat(900)],
])("requests are never refused for their rate: %s", (_name, textOf) => {
  const { got, welcome, add } = start();
  welcome();
  for (let n = 0; n < 200; n++) add(textOf(n), RESUMED);
  vi.advanceTimersByTime(20 * 60_000);
  expect(got).toMatchObject({ sent: 200, refused: 0 });
});

test("early messages are never refused for their rate, however large they are", () => {
  const { queue, got, welcome, add } = start();
  queue.opened({ messages: EARLY_MESSAGES, bytes: EARLY_LARGEST_MESSAGES * MESSAGE_BYTES });
  for (let n = 0; n < 20; n++) add("x".repeat(40_000), RESUMED);
  expect(got.sent).toBeGreaterThan(0);
  vi.advanceTimersByTime(200);
  welcome();
  vi.advanceTimersByTime(20 * 60_000);
  expect(got).toMatchObject({ sent: 20, refused: 0 });
});

test("random requests are never refused for their rate", () => {
  const random = new Random(startSeed("request queue"));
  const { got, welcome, add } = start();
  welcome();
  for (let n = 0; n < 500; n++) {
    const text = random
      .pick(["x", "x", "x", "é", "語"])
      .repeat(random.pick([1, 10, 100, 1_000, 10_000, 15_000]));
    add(text, random.chance(0.5) ? RESUMED : {});
    vi.advanceTimersByTime(random.int(0, 300));
  }
  vi.advanceTimersByTime(60 * 60_000);
  expect(got).toMatchObject({ sent: 500, refused: 0 });
});
