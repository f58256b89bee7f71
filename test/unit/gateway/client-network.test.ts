import fc from "fast-check";
import { expect, test } from "vitest";
import { networkOf, normalizeAddress, TrustedProxies } from "../../../src/gateway/http/client-network.ts";

test.each([
  ["203.0.113.5", "203.0.113.5"],
  ["203.0.113.5:4711", "203.0.113.5"],
  ["::ffff:203.0.113.5", "203.0.113.5"],
  ["::FFFF:203.0.113.5", "203.0.113.5"],
  ["::ffff:cb00:7105", "203.0.113.5"],
  ["0:0:0:0:0:ffff:203.0.113.5", "203.0.113.5"],
  ["[::ffff:203.0.113.5]:443", "203.0.113.5"],
  ["64:ff9b::203.0.113.5", "203.0.113.5"],
  ["2001:DB8::1", "2001:db8::1"],
  ["[2001:db8::1]", "2001:db8::1"],
  ["[2001:db8::1]:443", "2001:db8::1"],
  ["fe80::1%eth0", "fe80::1"],
  ["unknown", "unknown"],
  ["_hidden", "_hidden"],
  ["1.2.3.4:x", "1.2.3.4:x"],
  ["", ""],
])("an address has one spelling: %s is %s", (text, expected) => {
  expect(normalizeAddress(text)).toBe(expected);
});

test.each([
  ["203.0.113.5", "203.0.113.5"],
  ["2001:db8:1:2::1", "2001:db8:1:2::/64"],
  ["2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"],
  ["2001:db8:1:3::1", "2001:db8:1:3::/64"],
  ["2001:0db8:0001:0002::", "2001:db8:1:2::/64"],
  ["::1", "0:0:0:0::/64"],
  ["unknown", "unknown"],
])("limits count %s under %s", (address, expected) => {
  expect(networkOf(address)).toBe(expected);
});

test("two IPv6 addresses count together exactly where they agree in their first 64 bits", () => {
  const group = fc.integer({ min: 0, max: 0xffff });
  const address = fc.array(group, { minLength: 8, maxLength: 8 });
  // No embedded IPv4 address: those count alone.
  const written = (groups: readonly number[]) =>
    [0x2001, ...groups.slice(1)].map((n) => n.toString(16)).join(":");
  fc.assert(
    fc.property(address, address, fc.integer({ min: 1, max: 7 }), (one, other, same) => {
      const mixed = other.map((value, at) => (at < same ? (one[at] ?? 0) : value));
      const agree = one.slice(1, 4).join() === mixed.slice(1, 4).join();
      const keys = [one, mixed].map((groups) => networkOf(normalizeAddress(written(groups))));
      expect(keys[0] === keys[1]).toBe(agree);
    }),
  );
});

test("any text at all becomes a key of bounded length", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 500 }), (text) => {
      expect(networkOf(normalizeAddress(text)).length).toBeLessThanOrEqual(64);
    }),
  );
});

test("a proxy is trusted in every spelling of its address, and a word is none", () => {
  const proxies = new TrustedProxies(["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"]);
  const isTrusted = (text: string) => proxies.includes(normalizeAddress(text));
  for (const text of ["10.0.0.1", "::ffff:10.0.0.1", "::ffff:a00:1", "[2001:db8::7]:80", "192.0.2.1"])
    expect(isTrusted(text), text).toBe(true);
  for (const text of ["11.0.0.1", "2001:db9::1", "192.0.2.2", "10.0.0", "unknown", ""])
    expect(isTrusted(text), text).toBe(false);
});
