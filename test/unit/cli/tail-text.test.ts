import { expect, test } from "vitest";
import { stateText } from "../../../src/cli/tail-text.ts";

const URL = "ws://127.0.0.1:8480/v1/ws";

test("asks whether the service runs if nothing listens at its address", () => {
  const reason = "connect ECONNREFUSED 127.0.0.1:8480";
  expect(stateText({ is: "waiting", code: 1006, reason, delayMs: 1_500 }, URL)).toBe(
    `nothing listens at ${URL}: is the service running? Again in 1.5 s`,
  );
});

test("shows any other reason as it is", () => {
  expect(stateText({ is: "waiting", code: 1006, reason: "cable", delayMs: 200 }, URL)).toBe(
    "connection lost (1006, cable): again in 0.2 s",
  );
});
