import pino from "pino";
import { expect, test } from "vitest";
import { toErrorMessage } from "../../../src/gateway/connection/client-error.ts";

test("the client receives only a reference for a bug, and the log has the details under that reference", () => {
  const lines: string[] = [];
  const log = pino({ level: "error" }, { write: (line: string) => void lines.push(line) });
  const answer = toErrorMessage(new TypeError("cannot read secret of undefined"), log);
  expect(answer).toMatchObject({ type: "error", code: "internal", retry: "later" });
  const ref = answer.details?.["ref"];
  expect(ref).toMatch(/^[0-9a-f]{12}$/);
  expect(JSON.stringify(answer)).not.toMatch(/secret|TypeError/);
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
