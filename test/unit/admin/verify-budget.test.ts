import { expect, test } from "vitest";
import { VerifyBudget } from "../../../src/admin/access/verify-budget.ts";

const takeMany = (budget: VerifyBudget, from: (index: number) => string, count: number, nowMs = 0) =>
  Array.from({ length: count }, (_, index) => budget.take(from(index), nowMs));

test("one network has 50 verifications at once and 10 per second over time", () => {
  const budget = new VerifyBudget(50, 0);
  expect(takeMany(budget, () => "192.0.2.1", 51)).toEqual([...Array(50).fill(0), 100]);
  expect(takeMany(budget, () => "192.0.2.1", 11, 1_000)).toEqual([...Array(10).fill(0), 100]);
});

test("the addresses of one IPv6 subscriber count together", () => {
  const budget = new VerifyBudget(50, 0);
  const waits = takeMany(budget, (index) => `2001:db8::${(index + 1).toString(16)}`, 51);
  expect(waits.at(-1)).toBe(100);
});

test("all networks together have 100 at once and 50 per second over time", () => {
  const budget = new VerifyBudget(50, 0);
  const from = (index: number) => `192.0.2.${index + 1}`;
  expect(takeMany(budget, from, 101)).toEqual([...Array(100).fill(0), 20]);
  expect(takeMany(budget, from, 51, 1_000)).toEqual([...Array(50).fill(0), 20]);
});

test("the rates of the networks that asked last are remembered, and no others", () => {
  const budget = new VerifyBudget(50, 0);
  const askAll = (second: number, count: number) => {
    for (let index = 0; index < count; index++)
      budget.take(`10.${second}.${index >> 8}.${index & 255}`, index * 100);
  };
  takeMany(budget, () => "192.0.2.1", 50, 99_000);
  askAll(0, 999);
  expect(budget.take("192.0.2.1", 99_000)).toBeGreaterThan(0);
  askAll(1, 1_000);
  expect(budget.take("192.0.2.1", 99_000)).toBe(0);
});

test("the rates follow server.admin.jwtChecks", () => {
  const budget = new VerifyBudget(5, 0);
  expect(takeMany(budget, () => "192.0.2.1", 6)).toEqual([...Array(5).fill(0), 1_000]);
  const from = (index: number) => `198.51.100.${index + 1}`;
  expect(takeMany(budget, from, 6)).toEqual([...Array(5).fill(0), 200]);
});
