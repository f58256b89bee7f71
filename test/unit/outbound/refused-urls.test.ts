/** URLs that are refused before a name is looked up or a connection is made. */
import { expect, test } from "vitest";
import { isPublicAddress } from "../../../src/outbound/public-address.ts";
import { PrivateAddressError } from "../../../src/outbound/resolve-public.ts";
import { RequestFailedError, SafeSender, safeRequest } from "../../../src/outbound/safe-request.ts";

const request = (url: string, allowPrivate = false) => ({
  url: new URL(url),
  method: "POST" as const,
  headers: {},
  body: "{}",
  timeoutMs: 10_000,
  allowPrivate,
  signal: new AbortController().signal,
});

/** No URL of these tests may lead to a look-up. */
const sender = new SafeSender({
  resolve: async (host) => expect.fail(`${host} was looked up`),
  isPublic: isPublicAddress,
});

test.each([
  "https://127.0.0.1/",
  "https://127.0.0.1./",
  "https://127.1/",
  "https://0x7f.1/",
  "https://0x7f000001/",
  "https://0177.0.0.1/",
  "https://017700000001/",
  "https://2130706433/",
  "https://①②⑦.⓪.⓪.①/",
  "https://127%2E0%2E0%2E1/",
  "https://0/",
  "https://10.1/",
  "https://169.254.169.254/latest/meta-data/",
  "https://0xa9fea9fe/",
  "https://2852039166/",
  "https://[::1]/",
  "https://[::]/",
  "https://[::ffff:127.0.0.1]/",
  "https://[::ffff:a9fe:a9fe]/",
  "https://[0:0:0:0:0:ffff:0a00:0001]/",
  "https://[64:ff9b::7f00:1]/",
  "https://[2002:7f00:1::]/",
  "https://[fd00:ec2::254]/",
  "https://[fe80::1]/",
  "https://[::127.0.0.1]:8443/path?query#hash",
])("%s has no public address", async (url) => {
  await expect(sender.send(request(url))).rejects.toBeInstanceOf(PrivateAddressError);
  await expect(safeRequest(request(url))).rejects.toBeInstanceOf(PrivateAddressError);
});

test.each(["https://[fe80::1%25eth0]/", "https://[::1%lo]/", "https://[v1.a]/", "https://300.1.1.1/"])(
  "%s is no URL",
  (url) => expect(() => new URL(url)).toThrow(),
);

test.each([
  "http://receiver.example/",
  "ftp://receiver.example/",
  "file:///etc/passwd",
  "data:text/plain,hello",
  "gopher://127.0.0.1/",
])("%s is refused, because it is not https", async (url) => {
  await expect(sender.send(request(url))).rejects.toThrow("the URL is not https");
});

test.each(["ftp://receiver.example/", "file:///etc/passwd"])(
  "%s is refused where private addresses are allowed, too",
  async (url) => {
    await expect(sender.send(request(url, true))).rejects.toThrow("the URL is not https");
  },
);

test.each(["https://user@receiver.example/", "https://:pass@receiver.example/"])(
  "%s is refused, because credentials in a URL end up in logs",
  async (url) => {
    const refused = sender.send(request(url));
    await expect(refused).rejects.toBeInstanceOf(RequestFailedError);
    await expect(refused).rejects.toMatchObject({ failure: "not-sent" });
    await expect(refused).rejects.not.toThrow(/pass@|user@/);
  },
);

test("a header that would split the request is refused", async () => {
  const bad = { ...request("https://receiver.example/"), headers: { "x-a": "1\r\nhost: inside" } };
  await expect(sender.send(bad)).rejects.toMatchObject({ failure: "not-sent" });
});
