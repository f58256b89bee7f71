import { expect, test } from "vitest";
import { logLine, readableLog } from "../../../src/terminal/log-line.ts";
import { paintWith } from "../../../src/terminal/paint.ts";

const plain = paintWith(false);
const entry = (more: object) =>
  JSON.stringify({ level: 30, time: 1_700_000_000_000, pid: 1, hostname: "h", ...more });

test("shows the time, the level, the text and the fields of an entry on one line", () => {
  expect(logLine(entry({ msg: "listening", port: 8480, host: "127.0.0.1" }), plain)).toMatch(
    /^\d\d:\d\d:\d\d INFO {2}listening port=8480 host=127\.0\.0\.1$/,
  );
});

test("shows an error by its message, without the stack", () => {
  const line = logLine(
    entry({ level: 50, msg: "failed", err: { type: "E", message: "why", stack: "at x" } }),
    plain,
  );
  expect(line).toMatch(/ERROR failed error="why"$/);
});

test("escapes control characters, so that text of a client cannot move the cursor", () => {
  const line = logLine(entry({ msg: "a\u001b[2Jb", name: "c\nd" }), plain);
  expect(line).toContain("a\\x1b[2Jb name=c\\x0ad");
});

test("leaves a line that is no entry as it is", () => {
  expect(logLine("(node:1) Warning: x", plain)).toBe("(node:1) Warning: x");
});

test("writes whole lines, also if an entry arrives in parts", () => {
  const lines: string[] = [];
  const stream = readableLog((line) => lines.push(line), false);
  const text = `${entry({ msg: "one" })}\n${entry({ msg: "two" })}\n`;
  stream.write(text.slice(0, 20));
  stream.write(text.slice(20));
  expect(lines.map((line) => line.slice(9))).toEqual(["INFO  one", "INFO  two"]);
});
