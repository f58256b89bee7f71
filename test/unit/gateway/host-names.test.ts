import { expect, test } from "vitest";
import { AdminOptions } from "../../../src/gateway/admin-options.ts";
import { HostNames } from "../../../src/gateway/http/host-names.ts";

const hosts = new HostNames(["localhost", "127.0.0.1", "[::1]", "Tidewire.Internal:8481"]);

test.each([
  "localhost",
  "localhost:1",
  "LocalHost:65535",
  "127.0.0.1:8481",
  "[::1]",
  "[::1]:8481",
  "tidewire.internal:8481",
])("takes %s", (host) => expect(hosts.includes(host)).toBe(true));

test.each([
  undefined,
  "",
  "evil.example",
  "evil.example:8481",
  "localhost.evil.example",
  "evil-localhost",
  "localhost@evil.example",
  "localhost:8481:1",
  "localhost:",
  "127.0.0.10",
  "0.0.0.0",
  "::1",
  "[::1",
  "tidewire.internal",
  "tidewire.internal:8482",
])("does not take %s", (host) => expect(hosts.includes(host)).toBe(false));

test.each(["localhost", "a.b-c.d:80", "10.0.0.1", "[fe80::1]:8481"])("may be configured: %s", (host) => {
  expect(AdminOptions.safeParse({ hosts: [host] }).success).toBe(true);
});

test.each(["", "*", "http://localhost", "a b", "a/", "::1", ".a", "a:", "[::1]x"])(
  "may not be configured: %s",
  (host) => expect(AdminOptions.safeParse({ hosts: [host] }).success).toBe(false),
);
