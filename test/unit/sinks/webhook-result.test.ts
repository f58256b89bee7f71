import { expect, test } from "vitest";
import { retryAfterMs, secretsInUrl, toSendResult } from "../../../src/sinks/targets/webhook-result.ts";

const NOW = Date.parse("2026-03-01T12:00:00Z");
const answer = (status: number, headers = {}, excerpt = "") => ({ status, headers, excerpt });

test.each([
  [200, "accepted"],
  [202, "accepted"],
  [204, "accepted"],
  [299, "accepted"],
  [300, "unavailable"],
  [301, "unavailable"],
  [302, "unavailable"],
  [307, "unavailable"],
  [308, "unavailable"],
  [400, "refused"],
  [401, "unavailable"],
  [403, "refused"],
  [404, "refused"],
  [407, "unavailable"],
  [408, "unavailable"],
  [409, "refused"],
  [410, "gone"],
  [413, "refused"],
  [422, "refused"],
  [425, "unavailable"],
  [429, "unavailable"],
  [500, "refused"],
  [501, "refused"],
  [502, "unavailable"],
  [503, "unavailable"],
  [504, "unavailable"],
  [521, "unavailable"],
  [599, "unavailable"],
])("the status %i means %s", (status, kind) => {
  expect(toSendResult(answer(status), [], NOW)).toMatchObject({ kind });
});

test("a reason contains the status alone, and the excerpt is apart from it and without secrets", () => {
  const echoed = answer(400, {}, "no such token: Bearer abc123, Bearer abc123");
  expect(toSendResult(echoed, ["Bearer abc123"], NOW)).toEqual({
    kind: "refused",
    reason: "the receiver answered 400",
    excerpt: "no such token: …, …",
  });
  const quoted = (excerpt: string) => toSendResult(answer(400, {}, excerpt), ["Bearer abc123"], NOW);
  expect(quoted("no such token: abc123")).toMatchObject({ excerpt: "no such token: …" });
  expect(quoted("no such token: abc1")).toMatchObject({ excerpt: "no such token: …" });
  expect(quoted("no such token: Bearer ab")).toMatchObject({ excerpt: "no such token: …" });
  expect(toSendResult(answer(503), [], NOW)).toEqual({
    kind: "unavailable",
    reason: "the receiver answered 503",
  });
});

test("the key of a receiver in the path or in the query of its URL is in no excerpt, however the receiver writes it", () => {
  const url = new URL("https://hooks.example/services/T0/xoxb-1234%2Fab/?token=k%20y-5678&v=2&sig=abcd");
  const quoted = (excerpt: string) => {
    const result = toSendResult(answer(404, {}, excerpt), secretsInUrl(url), NOW);
    return "excerpt" in result ? result.excerpt : undefined;
  };
  expect(quoted(`no ${url.href} here`)).toBe("no … here");
  expect(quoted(`Cannot POST ${url.pathname}${url.search}`)).toBe("Cannot POST …");
  expect(quoted(`Cannot POST ${url.pathname}`)).toBe("Cannot POST …");
  expect(quoted("Cannot POST /services/T0/xoxb-1234/ab/")).toBe("Cannot POST …");
  expect(quoted('{"key":"xoxb-1234%2Fab"}')).toBe('{"key":"…"}');
  expect(quoted("no such token: k%20y-5678")).toBe("no such token: …");
  expect(quoted("no such token: k y-5678")).toBe("no such token: …");
  expect(quoted("sig=abcd&amp;v=2")).toBe("sig=…&amp;v=2");
  expect(quoted("Cannot POST /services/T0/xoxb-12")).toBe("Cannot POST /…/T0/…");
  expect(quoted("the schema of version 2 has no field total")).toBe(
    "the schema of version 2 has no field total",
  );
  expect(secretsInUrl(new URL("https://hooks.example/"))).toEqual(["https://hooks.example/"]);
});

test.each<[string, string, string]>([
  ["/k3y", "Cannot POST /k3y", "Cannot POST …"],
  ["/a/k3y?v=1", "Cannot POST /a/k3y?v=1", "Cannot POST …"],
  ["/a/k3y?v=1", "no route for ?v=1", "no route for …"],
  ["/a/k3y", 'the path "a/k3y" matches nothing', 'the path "…" matches nothing'],
  ["/a/k3y", '{"path":"\\/a\\/k3y"}', '{"path":"…"}'],
  ["/hooks/Ab3dE", "unknown key Ab3dE", "unknown key …"],
  ["/hooks/abcdef", "Cannot POST /abcdef", "Cannot POST …"],
  ["/hooks/abcdef", "Cannot POST /abcd", "Cannot POST …"],
  ["/hooks", "your hooks are disabled", "your hooks are disabled"],
  ["/v1/hooks", "hooks of v1 are disabled", "hooks of v1 are disabled"],
])("a short key in the URL path %s is not in an excerpt: %s", (path, excerpt, shown) => {
  const secrets = secretsInUrl(new URL(`https://hooks.example${path}`));
  expect(toSendResult(answer(404, {}, excerpt), secrets, NOW)).toMatchObject({ excerpt: shown });
});

test.each<[string | undefined, number | undefined]>([
  ["0", 0],
  ["1", 1_000],
  [" 120 ", 120_000],
  ["86400", 86_400_000],
  ["86401", 86_400_000],
  ["99999999999999999999999", 86_400_000],
  ["Sun, 01 Mar 2026 12:00:30 GMT", 30_000],
  ["Sun, 01 Mar 2026 11:00:00 GMT", 0],
  ["Mon, 01 Mar 2027 12:00:00 GMT", 86_400_000],
  ["Sun, 99 Mar 2026 12:00:30 GMT", undefined],
  ["2026-03-01T12:00:30Z", undefined],
  ["-1", undefined],
  ["1.5", undefined],
  ["soon", undefined],
  ["", undefined],
  [undefined, undefined],
])("Retry-After: %s asks for %s ms", (value, ms) => {
  expect(retryAfterMs(value, NOW)).toBe(ms);
  const result = toSendResult(answer(429, { "retry-after": value }), [], NOW);
  expect(result).toEqual({
    kind: "unavailable",
    reason: "the receiver answered 429",
    ...(ms === undefined ? {} : { retryAfterMs: ms }),
  });
});
