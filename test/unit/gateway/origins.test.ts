import { expect, test } from "vitest";
import { isListed, originProblem } from "../../../src/gateway/origins.ts";

test.each([
  "*",
  "https://app.example.com",
  "http://localhost:5173",
  "http://[::1]:8080",
  "https://*.preview.example.com",
  "https://*.preview.example.com:8443",
  "capacitor://localhost",
  "ionic://localhost",
  "tauri://localhost",
  "app://localhost:1420",
  "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
  "moz-extension://6b1ee4f2-1d2c-4f3a-9a41-0d8e1f3c2b1a",
])("%s may be listed", (entry) => {
  expect(originProblem(entry)).toBeUndefined();
});

test.each([
  ["https://a.b/c", "Write https://a.b"],
  ["https://a.b/", "Write https://a.b"],
  ["HTTPS://App.example.com", "Write https://app.example.com"],
  ["https://app.example.com:443", "Write https://app.example.com"],
  ["app.example.com", "Write https://app.example.com"],
  ["https://*example.com", "one * for the whole first label"],
  ["https://a*.example.com", "one * for the whole first label"],
  ["https://app.*.example.com", "one * for the whole first label"],
  ["https://*.*.example.com", "one * for the whole first label"],
  ["https://*.com", "one * for the whole first label"],
  ["https://*.preview.example.com:443", "one * for the whole first label"],
  ["capacitor://*.example.com", "one * for the whole first label"],
  ["*.example.com", "one * for the whole first label"],
  ["https://user:secret@app.example.com", "Write https://app.example.com"],
  ["capacitor://localhost/", "scheme://host"],
  ["null", "scheme://host"],
  ["file://", "scheme://host"],
  ["", "scheme://host"],
])("%j would never match, and the text says what to write", (entry, advice) => {
  expect(originProblem(entry)).toContain(advice);
});

const ENTRIES = ["https://app.example.com", "https://*.preview.example.com", "capacitor://localhost"];

test.each([
  "https://app.example.com",
  "https://pr-12.preview.example.com",
  "https://x.preview.example.com",
  "capacitor://localhost",
])("%s is listed", (origin) => {
  expect(isListed(origin, ENTRIES)).toBe(true);
});

test.each([
  "http://app.example.com",
  "https://app.example.com.evil.example",
  "https://app.example.com:8443",
  "https://preview.example.com",
  "https://.preview.example.com",
  "https://a.b.preview.example.com",
  "https://evil.example/.preview.example.com",
  "https://evil.example#.preview.example.com",
  "https://user@x.preview.example.com",
  "https://xpreview.example.com",
  "https://x.preview.example.com:8443",
  "http://x.preview.example.com",
  "https://*.preview.example.com",
  "https://-.preview.example.com",
  "capacitor://localhost:80",
  "ionic://localhost",
  "null",
  "",
])("%s is not", (origin) => {
  expect(isListed(origin, ENTRIES)).toBe(false);
});

test("* lists every page, also one that is in a sandbox", () => {
  expect(["https://evil.example", "null"].map((origin) => isListed(origin, ["*"]))).toEqual([true, true]);
});
