/** Addresses that requests may go to. An independent list of reserved blocks, in Node's own `BlockList`, is the oracle. */
import { BlockList, isIP } from "node:net";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { isPublicAddress } from "../../../src/outbound/public-address.ts";

const PUBLIC = [
  "1.1.1.1",
  "8.8.8.8",
  "9.255.255.255",
  "11.0.0.0",
  "100.63.255.255",
  "100.128.0.0",
  "126.255.255.255",
  "128.0.0.1",
  "169.253.255.255",
  "169.255.0.0",
  "172.15.255.255",
  "172.32.0.0",
  "192.167.255.255",
  "192.169.0.0",
  "198.17.255.255",
  "198.20.0.0",
  "223.255.255.255",
  "2001:4860:4860::8888",
  "2606:4700:4700::1111",
  "2a00:1450:4001:812::200e",
];

const NOT_PUBLIC = [
  "0.0.0.0",
  "0.1.2.3",
  "10.0.0.1",
  "10.255.255.255",
  "100.64.0.1",
  "100.100.100.200", // metadata of Alibaba Cloud
  "100.127.255.255",
  "127.0.0.1",
  "127.255.255.254",
  "168.63.129.16", // Azure's own services
  "169.254.0.1",
  "169.254.169.254", // metadata of AWS, Azure, Google Cloud
  "172.16.0.1",
  "172.31.255.255",
  "192.0.0.192", // metadata of Oracle Cloud
  "192.0.2.1",
  "192.88.99.1",
  "192.168.0.1",
  "192.168.255.255",
  "198.18.0.1",
  "198.19.255.255",
  "198.51.100.1",
  "203.0.113.1",
  "224.0.0.1",
  "239.255.255.255",
  "240.0.0.1",
  "255.255.255.255",
  "::",
  "::1",
  "0:0:0:0:0:0:0:1",
  "::127.0.0.1", // IPv4-compatible
  "::8.8.8.8",
  "::ffff:127.0.0.1", // IPv4-mapped
  "::ffff:7f00:1",
  "0:0:0:0:0:ffff:10.0.0.1",
  "::ffff:8.8.8.8",
  "::ffff:0:127.0.0.1", // IPv4-translated
  "64:ff9b::127.0.0.1", // NAT64
  "64:ff9b::a9fe:a9fe",
  "64:ff9b:1::10.0.0.1", // NAT64 with a local prefix
  "100::1",
  "2001::1", // Teredo
  "2001:0:4136:e378:8000:63bf:3fff:fdd2",
  "2001:db8::1",
  "2002:7f00:1::", // 6to4
  "2002:c0a8:1::1",
  "2606:4700::5efe:10.0.0.1", // ISATAP
  "2606:4700::200:5efe:a9fe:a9fe",
  "3fff::1",
  "5f00::1",
  "fc00::1",
  "fd00:ec2::254", // metadata of AWS
  "fdff::1",
  "fe80::1",
  "fe80::1%lo",
  "fe80::1%25eth0",
  "2606:4700:4700::1111%eth0",
  "febf::1",
  "fec0::1",
  "ff02::1",
];

const NO_ADDRESS = [
  "",
  " ",
  "localhost",
  "example.com",
  "127.1.example",
  "256.0.0.1",
  "[::1]",
  "::1/128",
  "1:2",
];

/** Spellings that `inet_aton` understands. A check that took them for names would let them pass. */
const ODD = [
  "1.0",
  "8.8",
  "127.1",
  "0x7f.0.0.1",
  "0177.0.0.1",
  "2130706433",
  "0x7f000001",
  "10.1",
  "0xa9fea9fe",
];

test.each(PUBLIC)("%s is public", (address) => expect(isPublicAddress(address)).toBe(true));

test.each([...NOT_PUBLIC, ...NO_ADDRESS, ...ODD])("%j is not public", (address) =>
  expect(isPublicAddress(address)).toBe(false),
);

/** The blocks that IANA has reserved, and relay and sink addresses that are of no use to a receiver. */
const reserved = new BlockList();
for (const [net, bits] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["168.63.129.16", 32],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.31.196.0", 24],
  ["192.52.193.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["192.175.48.0", 24],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
] as const)
  reserved.addSubnet(net, bits, "ipv4");

const dotted = (number: number) => [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join(".");
const groups = (number: number) => `${(number >>> 16).toString(16)}:${(number & 0xffff).toString(16)}`;

/** Any IPv4 address, and more often one near the end of a reserved block. */
const ipv4 = fc.oneof(
  fc.integer({ min: 0, max: 0xffffffff }),
  fc
    .tuple(
      fc.constantFrom(0x0a, 0x64, 0x7f, 0xa9, 0xac, 0xc0, 0xc6, 0xcb, 0xe0),
      fc.integer({ min: 0, max: 0xffffff }),
    )
    .map(([first, rest]) => first * 2 ** 24 + rest),
);

test("an IPv4 address is public unless it is in a reserved block", () => {
  void fc.assert(
    fc.property(ipv4, (number) => {
      const address = dotted(number);
      expect(isPublicAddress(address), address).toBe(!reserved.check(address, "ipv4"));
    }),
    { numRuns: 5_000 },
  );
});

const EMBEDDINGS: readonly ((number: number) => string)[] = [
  (number) => `::${dotted(number)}`,
  (number) => `::${groups(number)}`,
  (number) => `::ffff:${dotted(number)}`,
  (number) => `::ffff:${groups(number)}`,
  (number) => `0:0:0:0:0:FFFF:${groups(number)}`,
  (number) => `::ffff:0:${dotted(number)}`,
  (number) => `64:ff9b::${dotted(number)}`,
  (number) => `64:ff9b:1::${groups(number)}`,
  (number) => `2002:${groups(number)}::1`,
  (number) => `2001:0:${groups(number)}::1`,
  (number) => `2600:1f18::5efe:${groups(number)}`,
];

test("no IPv6 form that embeds an IPv4 address is public", () => {
  void fc.assert(
    fc.property(ipv4, fc.constantFrom(...EMBEDDINGS), (number, embed) => {
      expect(isPublicAddress(embed(number)), embed(number)).toBe(false);
    }),
    { numRuns: 5_000 },
  );
});

test("an IPv6 address outside of 2000::/3 is never public, and neither is a text that is no address", () => {
  void fc.assert(
    fc.property(fc.ipV6(), (address) => {
      const isGlobal = /^[23][0-9a-f]{3}:/i.test(address);
      if (!isGlobal) expect(isPublicAddress(address), address).toBe(false);
    }),
    { numRuns: 2_000 },
  );
  const anything = fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-fx.:%]{1,20}$/));
  void fc.assert(
    fc.property(anything, (text) => {
      if (isIP(text) === 0) expect(isPublicAddress(text), text).toBe(false);
    }),
    { numRuns: 5_000 },
  );
});
