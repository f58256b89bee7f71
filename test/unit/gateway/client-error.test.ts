import pino from "pino";
import { expect, test } from "vitest";
import { toErrorMessage } from "../../../src/gateway/connection/client-error.ts";

test("a bug is told by a reference alone, under which the log has all of it", () => {
  const lines: string[] = [];
  const log = pino({ level: "error" }, { write: (line: string) => void lines.push(line) });
  const told = toErrorMessage(new TypeError("cannot read secret of undefined"), log);
  expect(told).toMatchObject({ type: "error", code: "internal", retry: "later" });
  const ref = told.details?.["ref"];
  expect(ref).toMatch(/^[0-9a-f]{12}$/);
  expect(JSON.stringify(told)).not.toMatch(/secret|TypeError/);
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    {
      ref,
      err: {
        message: "cannot read secret of undefined",
        stack: expect.stringContaining("client-error.test"),
      },
    },
  ]);
  expect(toErrorMessage(new Error("another"), log).details?.["ref"]).not.toBe(ref);
});
