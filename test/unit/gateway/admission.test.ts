import type { IncomingMessage } from "node:http";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Admission } from "../../../src/gateway/http/admission.ts";
import { GatewayLimits } from "../../../src/gateway/limits.ts";
import { ServerOptions } from "../../../src/gateway/options.ts";

const admission = (limits: object = {}, server: object = {}) =>
  new Admission(GatewayLimits.parse(limits), ServerOptions.parse(server), 1_000, 0);

/** A request as far as its address goes. */
const request = (remoteAddress: string | undefined, forwarded?: string) =>
  ({
    socket: { remoteAddress },
    headers: forwarded === undefined ? {} : { "x-forwarded-for": forwarded },
  }) as unknown as IncomingMessage; // nothing else of it is looked at

const proxied = admission({}, { trustedProxies: ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"] });

test.each([
  ["nobody in between", "203.0.113.5", undefined, "203.0.113.5"],
  ["a header that nobody vouches for", "203.0.113.5", "1.2.3.4", "203.0.113.5"],
  ["one proxy", "10.0.0.1", "1.2.3.4", "1.2.3.4"],
  ["IPv4 in the dress of IPv6", "::ffff:10.0.0.1", "::ffff:1.2.3.4", "1.2.3.4"],
  ["an address, not a block", "192.0.2.1", "1.2.3.4", "1.2.3.4"],
  ["just outside of it", "192.0.2.2", "1.2.3.4", "192.0.2.2"],
  ["IPv6", "2001:db8::1", "2001:db9::7", "2001:db9::7"],
  ["two proxies", "10.0.0.1", "1.2.3.4, 10.9.9.9", "1.2.3.4"],
  ["what the client wrote before its own address", "10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"],
  ["only proxies", "10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"],
  ["a proxy that says nothing", "10.0.0.1", undefined, "10.0.0.1"],
  ["empty hops", "10.0.0.1", " , ,", "10.0.0.1"],
  ["a word", "10.0.0.1", "unknown", "unknown"],
  ["an address with a port", "10.0.0.1", "1.2.3.4:5678", "1.2.3.4"],
  ["a word behind a proxy", "10.0.0.1", "_hidden, 10.0.0.2", "_hidden"],
  ["a socket that has gone", undefined, "1.2.3.4", ""],
])("whose address counts: %s", (_what, remote, forwarded, expected) => {
  expect(proxied.addressOf(request(remote, forwarded))).toBe(expected);
});

test("any header at all is survived", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 60 }), (header) => {
      expect(typeof proxied.addressOf(request("10.0.0.1", header))).toBe("string");
    }),
  );
});

test("lets so many in from an address at once, then at its rate; others have their own", () => {
  const one = admission({ connectRatePerAddress: 1, connectBurstPerAddress: 2, connectRate: 1_000 });
  expect([0, 0, 0].map((nowMs) => one.overRate("a", nowMs)?.limit)).toEqual([
    undefined,
    undefined,
    "connectRatePerAddress",
  ]);
  expect(one.overRate("b", 0)).toBeNull();
  expect(one.overRate("a", 999)).not.toBeNull();
  expect(one.overRate("a", 1_000)).toBeNull();
});

test("the node's own rate holds for all together", () => {
  const one = admission({ connectRate: 2 });
  const answers = ["a", "b", "c"].map((address) => one.overRate(address, 0)?.limit);
  expect(answers).toEqual([undefined, undefined, "connectRate"]);
});

test("counts connections by node and address, and forgets who has left", () => {
  const one = admission({ connections: 2, connectionsPerAddress: 1 });
  one.connected("a");
  expect([one.isOverFull(), one.addressIsOverFull("a")]).toEqual([false, false]);
  one.connected("a");
  expect([one.isOverFull(), one.addressIsOverFull("a"), one.addressIsOverFull("b")]).toEqual([
    false,
    true,
    false,
  ]);
  one.connected("b");
  expect(one.isOverFull()).toBe(true);
  for (const address of ["a", "a", "b"]) one.disconnected(address);
  expect([one.connections, one.addressIsOverFull("a")]).toEqual([0, false]);
});

test("remembers rates of a bounded number of addresses, however many come", () => {
  const one = admission({ connectRate: 1e9, connectRatePerAddress: 0.001, connectBurstPerAddress: 1 });
  one.overRate("first", 0);
  for (let n = 0; n < 9_999; n++) one.overRate(`address-${n}`, 0);
  expect(one.overRate("first", 0)).not.toBeNull();
  one.overRate("one more", 0);
  // The oldest was forgotten for it.
  expect(one.overRate("first", 0)).toBeNull();
});
