import { expect, test } from "vitest";
import { answerOf } from "../../../src/push/push-request.ts";

const NOW_MS = Date.parse("2026-01-01T00:00:00Z");
const answer = (status: number, retryAfter?: string) =>
  answerOf({ status, headers: { "retry-after": retryAfter }, excerpt: "" }, NOW_MS);

test.each([
  [200, "accepted"],
  [201, "accepted"],
  [202, "accepted"],
  [301, "refused"],
  [400, "refused"],
  [401, "refused"],
  [403, "refused"],
  [404, "gone"],
  [410, "gone"],
  [413, "refused"],
  [408, "retry"],
  [429, "retry"],
  [500, "retry"],
  [503, "retry"],
])("an answer with status %i is %s", (status, outcome) => {
  expect(answer(status).outcome).toBe(outcome);
});

test("reads Retry-After as seconds and as a date, and ignores any other text", () => {
  const afterMs = (text?: string) => (answer(503, text) as { afterMs?: number }).afterMs;
  expect(afterMs("120")).toBe(120_000);
  expect(afterMs("Thu, 01 Jan 2026 00:00:30 GMT")).toBe(30_000);
  expect(afterMs("Wed, 31 Dec 2025 00:00:00 GMT")).toBe(0);
  expect([afterMs(), afterMs("soon"), afterMs("-5")]).toEqual([0, 0, 0]);
});
