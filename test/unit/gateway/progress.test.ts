import { beforeEach, expect, test, vi } from "vitest";
import { SubscriptionCharge } from "../../../src/feed/account.ts";
import type { Feed } from "../../../src/feed/feed.ts";
import { Rights } from "../../../src/feed/rights.ts";
import { Attachment } from "../../../src/gateway/connection/attachment.ts";
import type { AttachmentOwner } from "../../../src/gateway/connection/attachment-owner.ts";
import type { HeldLookups } from "../../../src/gateway/connection/held-lookups.ts";
import { Outbox } from "../../../src/gateway/connection/outbox.ts";
import { Progress } from "../../../src/gateway/connection/progress.ts";
import { Subscription } from "../../../src/gateway/connection/subscription.ts";
import { Subscriptions } from "../../../src/gateway/connection/subscriptions.ts";
import type { EffectiveQuery } from "../../../src/rules/authorize.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { FakeTransport } from "./fake-transport.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
  return () => vi.useRealTimers();
});

interface FakeDelivery {
  isLive: boolean;
  isHeldBack: boolean;
  sendHeld: () => void;
  liveQuery: { state: { isCurrent: boolean; becomesCurrent: () => Promise<void> } };
}

/** The progress of a connection over a feed whose deliveries are live when the test says so. */
function connect() {
  const transport = new FakeTransport();
  const outbox = new Outbox(transport, 1_000_000, guardParts());
  const gauge = { inc: () => {}, dec: () => {} };
  const subscriptions = new Subscriptions({ subscriptions: gauge, limitWaiting: gauge }, 1);
  const deliveries: FakeDelivery[] = [];
  let settle = () => {};
  const timeline = { isReady: true, isSettled: true, settles: Promise.resolve(), codec: { epoch: "" } };
  const feed = {
    timeline,
    cursors: { published: { cursor: "head", position: { clusterTime: 1n, within: 0 } } },
    subscribe: () => {
      const liveQuery = { state: { isCurrent: true, becomesCurrent: async () => {} } };
      const delivery: FakeDelivery = { isLive: true, isHeldBack: false, sendHeld: () => {}, liveQuery };
      deliveries.push(delivery);
      return delivery;
    },
    unsubscribe: () => {},
  };
  /** The feed hands out a batch, until `settle` is called. */
  const unsettle = () => {
    timeline.isSettled = false;
    timeline.settles = new Promise((resolve) => {
      settle = () => {
        timeline.isSettled = true;
        resolve();
      };
    });
  };
  const context = { ...guardParts(), feed: feed as unknown as Feed, server: { heartbeatMs: 25_000 } };
  const progress = new Progress(context, subscriptions, outbox, Date.now());
  // Only the parts of a connection that an attachment needs.
  const owner = {
    context: { feed },
    login: {},
    outbox,
    subscriptions,
    progress,
  } as unknown as AttachmentOwner;
  const attach = (key: string) => {
    const query = { key } as EffectiveQuery;
    const attachment = Attachment.attach(owner, query, true, new Rights(0n, []));
    subscriptions.follow(attachment);
    return attachment;
  };
  const requested = (id: string) => ({
    id,
    request: {} as never,
    lookups: { release: () => {} } as HeldLookups,
    charge: new SubscriptionCharge(0, () => {}),
  });
  const subscribe = (id: string, attachment = attach(id)) => {
    const subscription = new Subscription(requested(id), attachment);
    subscriptions.add(subscription);
    return { subscription, attachment };
  };
  const watermarks = () => transport.sent.filter(({ type }) => type === "watermark").length;
  /** Begins to wait; gives whether the wait is over. */
  const wait = (timeoutMs = 60_000) => {
    const waiting = { isOver: false, error: undefined as unknown };
    progress
      .caughtUp(Date.now() + timeoutMs, () => {
        waiting.isOver = true;
      })
      .catch((error: unknown) => {
        waiting.error = error;
      });
    return waiting;
  };
  const settled = () => vi.advanceTimersByTimeAsync(0);
  const parts = {
    transport,
    subscriptions,
    progress,
    deliveries,
    timeline,
    unsettle,
    settle: () => settle(),
  };
  return { ...parts, attach, requested, subscribe, watermarks, wait, settled };
}

test("[3.2] a watermark goes out while nothing is missing", () => {
  const { progress, subscribe, watermarks } = connect();
  subscribe("a");
  progress.sendWatermark();
  expect(watermarks()).toBe(1);
});

test("[3.2] no watermark goes out while a subscription waits for its lookups; it follows later", () => {
  const { progress, subscriptions, subscribe, attach, watermarks } = connect();
  subscribe("a");
  const { subscription } = subscribe("b");
  subscriptions.release(subscription);
  progress.sendWatermark();
  expect(watermarks()).toBe(0);
  const attachment = attach("b2");
  subscriptions.serve(subscription, attachment);
  progress.becameLive(false);
  expect(watermarks()).toBe(1);
});

test("[3.2] no watermark goes out while rights are undecided", () => {
  const { progress, subscribe, watermarks } = connect();
  const { attachment } = subscribe("a");
  attachment.suspend("a");
  progress.sendWatermark();
  expect(watermarks()).toBe(0);
  attachment.decide("a");
  progress.sendWatermark();
  expect(watermarks()).toBe(1);
});

test("[3.2] rights stay undecided when another attachment takes the subscription over", () => {
  const { progress, subscribe, attach, watermarks } = connect();
  const { attachment, subscription } = subscribe("a");
  attachment.suspend("a");
  const next = attach("a");
  expect(subscription.attachment).toBe(next);
  progress.sendWatermark();
  expect(watermarks()).toBe(0);
  next.decide("a");
  progress.sendWatermark();
  expect(watermarks()).toBe(1);
});

test("[3.2] no watermark goes out while a delivery catches up, or a batch is being handed out", () => {
  const { progress, subscribe, deliveries, timeline, watermarks } = connect();
  subscribe("a");
  Object.assign(deliveries[0] ?? {}, { isLive: false });
  progress.sendWatermark();
  expect(watermarks()).toBe(0);
  Object.assign(deliveries[0] ?? {}, { isLive: true });
  timeline.isSettled = false;
  progress.sendWatermark();
  expect(watermarks()).toBe(0);
});

test("[3.4] a watermark and a fence take the rows that are held back, between two batches", () => {
  const { progress, subscribe, deliveries, timeline, wait, watermarks } = connect();
  subscribe("a");
  const delivery = deliveries[0] as FakeDelivery;
  const holdBack = () => Object.assign(delivery, { isLive: false, isHeldBack: true });
  holdBack();
  delivery.sendHeld = () => {
    Object.assign(delivery, { isLive: true, isHeldBack: false });
  };
  timeline.isSettled = false;
  progress.sendWatermark();
  expect([delivery.isLive, watermarks()]).toEqual([false, 0]);
  timeline.isSettled = true;
  progress.sendWatermark();
  expect([delivery.isLive, watermarks()]).toEqual([true, 1]);
  holdBack();
  expect(wait().isOver).toBe(true);
  // Another subscription is behind, so the rows would be sent early for nothing.
  holdBack();
  subscribe("b");
  Object.assign(deliveries[1] ?? {}, { isLive: false });
  progress.sendWatermark();
  expect([delivery.isHeldBack, watermarks()]).toEqual([true, 1]);
});

test("a fence is answered in the turn in which nothing is missing, when that is so at once", async () => {
  const { subscribe, wait, settled } = connect();
  subscribe("a");
  const waiting = wait();
  expect(waiting.isOver).toBe(true);
  await settled();
});

test("a fence waits until a delivery is live, and is woken by that", async () => {
  const { progress, subscribe, deliveries, wait, settled } = connect();
  subscribe("a");
  const [delivery] = deliveries;
  Object.assign(delivery ?? {}, { isLive: false });
  const waiting = wait();
  await settled();
  expect(waiting.isOver).toBe(false);
  Object.assign(delivery ?? {}, { isLive: true });
  progress.becameLive(true);
  await settled();
  expect(waiting.isOver).toBe(true);
});

test("a fence waits until a subscription that lacks lookups is served, or has ended", async () => {
  for (const end of ["serve", "remove"] as const) {
    const { subscriptions, subscribe, attach, wait, settled } = connect();
    const { subscription } = subscribe("a");
    subscriptions.release(subscription);
    const waiting = wait();
    await settled();
    expect(waiting.isOver).toBe(false);
    if (end === "serve") subscriptions.serve(subscription, attach("a2"));
    else subscriptions.remove(subscription);
    await settled();
    expect(waiting.isOver).toBe(true);
  }
});

test("a fence waits until rights are decided", async () => {
  const { subscribe, wait, settled } = connect();
  const { attachment } = subscribe("a");
  attachment.suspend("a");
  const waiting = wait();
  await settled();
  expect(waiting.isOver).toBe(false);
  attachment.decide("a");
  await settled();
  expect(waiting.isOver).toBe(true);
});

test("a fence waits for a subscription that is not authorized yet, however that ends", async () => {
  for (const end of ["remove", "withdraw"] as const) {
    const { subscriptions, requested, wait, settled } = connect();
    const asked = { ...requested("a"), isOver: false };
    subscriptions.pending.add(asked);
    const waiting = wait();
    await settled();
    expect(waiting.isOver).toBe(false);
    if (end === "remove") subscriptions.pending.remove(asked);
    else subscriptions.pending.withdraw("a");
    await settled();
    expect(waiting.isOver).toBe(true);
  }
});

test("a fence waits until a batch has been handed out", async () => {
  const { subscribe, unsettle, settle, wait, settled } = connect();
  subscribe("a");
  unsettle();
  const waiting = wait();
  await settled();
  expect(waiting.isOver).toBe(false);
  settle();
  await settled();
  expect(waiting.isOver).toBe(true);
});

test("a fence waits until a window has evaluated the commits that it was late for", async () => {
  const { subscribe, deliveries, wait, settled } = connect();
  subscribe("a");
  const delivery = deliveries[0] as FakeDelivery;
  let evaluated = () => {};
  const evaluation = new Promise<void>((resolve) => {
    evaluated = resolve;
  });
  delivery.isLive = false;
  delivery.liveQuery = { state: { isCurrent: false, becomesCurrent: () => evaluation } };
  const waiting = wait();
  await settled();
  expect(waiting.isOver).toBe(false);
  Object.assign(delivery, {
    isLive: true,
    liveQuery: { state: { isCurrent: true, becomesCurrent: async () => {} } },
  });
  evaluated();
  await settled();
  expect(waiting.isOver).toBe(true);
});

test("a fence that has waited for too long is refused, and not before", async () => {
  const { subscribe, deliveries, wait } = connect();
  subscribe("a");
  Object.assign(deliveries[0] ?? {}, { isLive: false });
  const waiting = wait(5_000);
  await vi.advanceTimersByTimeAsync(4_999);
  expect(waiting.error).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1);
  expect(waiting).toMatchObject({ isOver: false, error: { code: "unavailable" } });
});

test("a fence of a connection that ends is neither answered nor refused", async () => {
  const { subscribe, deliveries, progress, wait } = connect();
  subscribe("a");
  Object.assign(deliveries[0] ?? {}, { isLive: false });
  const waiting = wait(5_000);
  progress.end();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(waiting).toEqual({ isOver: false, error: undefined });
});

test("a connection has only so many fences at once, and each that is answered makes room", () => {
  const { progress } = connect();
  const { release } = progress.holdFence(2);
  progress.holdFence(2);
  expect(() => progress.holdFence(2)).toThrow("2 fences wait on this connection already");
  release();
  expect(() => progress.holdFence(2)).not.toThrow();
});
