import { expect, test } from "vitest";
import { MongodbOptions } from "../../../src/source/options.ts";

const isValid = (url: string) =>
  MongodbOptions.safeParse({ uri: "mongodb://db", database: "shop", tail: { redis: { url } } }).success;

test.each([
  ["redis://127.0.0.1:6379", true],
  ["redis://127.0.0.1:6379/", true],
  ["rediss://user:50%25off@redis.internal:6380/3", true],
  ["redis://host:6379/cache", false],
  ["redis://user:50%off@host", false],
  ["http://127.0.0.1:6379", false],
])("%s as the URL of Redis is valid: %s", (url, expected) => {
  expect(isValid(url)).toBe(expected);
});
