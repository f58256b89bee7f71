import { MongoBulkWriteError, MongoServerError } from "mongodb";
import { pino } from "pino";
import { expect, test } from "vitest";
import { loggedError } from "../../../src/terminal/logged-error.ts";

/** The line that the log writes for an error. */
function lineOf(err: unknown): string {
  const lines: string[] = [];
  const log = pino({ serializers: { err: loggedError } }, { write: (text) => void lines.push(text) });
  log.error({ err }, "it failed");
  return lines.join("");
}

const failure = {
  code: 11_000,
  errmsg: "E11000 duplicate key",
  index: 0,
  op: { _id: 1, diagnosis: "secret" },
};

test("the documents of a failed write are not in the log, but its text, code and stack are", () => {
  // The driver's types ask for a class that it does not export.
  const error = new MongoBulkWriteError(
    { message: failure.errmsg, code: 11_000, writeErrors: [failure] } as never,
    {} as never,
  );
  const line = lineOf(error);
  expect(line).not.toContain("secret");
  expect(JSON.parse(line).err).toMatchObject({
    type: "MongoBulkWriteError",
    message: failure.errmsg,
    code: 11_000,
  });
  expect(JSON.parse(line).err.stack).toContain("MongoBulkWriteError");
});

test("nor are they in an error inside of another", () => {
  const inside = new MongoServerError({
    message: "Document failed validation",
    errInfo: { consideredValue: "secret" },
    keyValue: { name: "secret" },
  });
  const line = lineOf(Object.assign(new Error("outer", { cause: inside }), { inside }));
  expect(line).not.toContain("secret");
  expect(line).toContain("Document failed validation");
});

test("nor are they in a list of errors inside of another", () => {
  const inside = () =>
    new MongoServerError({ message: "Document failed validation", errInfo: { consideredValue: "secret" } });
  const line = lineOf(new AggregateError([inside(), new AggregateError([inside()], "inner")], "all failed"));
  expect(line).not.toContain("secret");
  expect(line.match(/Document failed validation/g)?.length).toBeGreaterThanOrEqual(2);
  const attempts = lineOf(Object.assign(new Error("failed"), { attempts: [inside(), "a text"] }));
  expect(attempts).not.toContain("secret");
  expect(JSON.parse(attempts).err.attempts).toMatchObject([
    { message: "Document failed validation" },
    "a text",
  ]);
});

test("what is no error is shown as it is", () => {
  expect(loggedError("a text")).toBe("a text");
});
