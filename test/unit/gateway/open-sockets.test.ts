import { expect, test } from "vitest";
import { TrustedProxies } from "../../../src/gateway/http/client-network.ts";
import { CountedSocket, OpenSockets } from "../../../src/gateway/http/open-sockets.ts";

test("takes as many sockets from an address as the limit says, and not one more; another address has its own", () => {
  const sockets = new OpenSockets({ total: 10, perAddress: 2 }, null);
  for (let i = 0; i < 2; i++) {
    expect(sockets.limitReached("127.0.0.1")).toBeNull();
    sockets.add("127.0.0.1");
  }
  expect(sockets.limitReached("127.0.0.1")).toBe("address-limit");
  expect(sockets.limitReached("::ffff:127.0.0.1")).toBe("address-limit");
  expect(sockets.limitReached("127.0.0.2")).toBeNull();
});

test("a socket that closed makes room once, however often that is said", () => {
  const sockets = new OpenSockets({ total: 10, perAddress: 2 }, null);
  const counted = sockets.add("127.0.0.1");
  sockets.add("127.0.0.1");
  counted.release();
  counted.release();
  expect(sockets.count).toBe(1);
  expect(sockets.limitReached("127.0.0.1")).toBeNull();
  sockets.add("127.0.0.1");
  expect(sockets.limitReached("127.0.0.1")).toBe("address-limit");
});

test("all addresses of one IPv6 /64 share the limit, the next /64 does not", () => {
  const sockets = new OpenSockets({ total: 10, perAddress: 2 }, null);
  sockets.add("2001:db8::1");
  sockets.add("2001:db8::2");
  expect(sockets.limitReached("2001:db8::3")).toBe("address-limit");
  expect(sockets.limitReached("2001:db8:0:1::3")).toBeNull();
});

test("the sockets of a trusted proxy count towards the total only", () => {
  const proxies = new TrustedProxies(["10.0.0.0/8"]);
  const sockets = new OpenSockets({ total: 3, perAddress: 1 }, proxies);
  for (let i = 0; i < 3; i++) {
    expect(sockets.limitReached("10.0.0.1")).toBeNull();
    sockets.add("10.0.0.1");
  }
  expect(sockets.limitReached("10.0.0.1")).toBe("node-full");
  expect(sockets.limitReached("192.0.2.1")).toBe("node-full");
});

test("sockets whose peer has gone before it was looked at share one limit", () => {
  const sockets = new OpenSockets({ total: 10, perAddress: 1 }, null);
  sockets.add(undefined);
  expect(sockets.limitReached(undefined)).toBe("address-limit");
});

test("on a full node, the longest idle socket of all listeners makes room; without an idle one there is none", () => {
  const sockets = new OpenSockets({ total: 2, perAddress: 2 }, null);
  const evicted: string[] = [];
  const idle = new Map([
    ["public", { sinceMs: 20, counted: sockets.add("127.0.0.1") }],
    ["grpc", { sinceMs: 10, counted: sockets.add("127.0.0.2") }],
  ]);
  for (const name of idle.keys()) {
    sockets.evictFrom({
      idleSinceMs: () => idle.get(name)?.sinceMs ?? null,
      evict: () => {
        idle.get(name)?.counted.release();
        idle.delete(name);
        evicted.push(name);
      },
    });
  }
  expect(sockets.admit("127.0.0.3")).toBeInstanceOf(CountedSocket);
  expect(evicted).toEqual(["grpc"]);
  expect(sockets.admit("127.0.0.3")).toBeInstanceOf(CountedSocket);
  expect(sockets.admit("127.0.0.3")).toBe("address-limit");
  expect(sockets.admit("127.0.0.4")).toBe("node-full");
  expect(evicted).toEqual(["grpc", "public"]);
});
