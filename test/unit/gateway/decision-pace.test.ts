import { expect, test } from "vitest";
import { Account } from "../../../src/feed/account.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { DecisionPace } from "../../../src/gateway/connection/decision-pace.ts";

test("decisions about rights may take half of the work of a user, and wait for the time that they took too long", () => {
  const pace = new DecisionPace();
  const account = new Account(FeedLimits.parse({ workPerUserMs: 100 }), () => {});
  expect(pace.pauseMs(account, 10_000)).toBe(0);
  pace.spend(account, 50, 10_000);
  expect(pace.pauseMs(account, 10_000)).toBe(0);
  pace.spend(account, 10, 10_000);
  expect([pace.pauseMs(account, 10_000), pace.pauseMs(account, 10_199)]).toEqual([200, 1]);
  expect(pace.pauseMs(account, 10_200)).toBe(0);
  pace.spend(account, 1_000, 10_200);
  expect(pace.pauseMs(account, 10_200)).toBe(1_000);
});
