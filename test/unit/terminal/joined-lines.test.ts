import { pino } from "pino";
import { expect, test } from "vitest";
import { JoinedLines } from "../../../src/terminal/joined-lines.ts";

const turn = () => new Promise(setImmediate);

function open() {
  const written: string[] = [];
  const lines = new JoinedLines((text) => written.push(text));
  const messages = () =>
    written.map((text) => [...text.matchAll(/"msg":"(.*?)"/g)].map(([, message]) => message));
  return { log: pino({ base: null }, lines), lines, messages };
}

test("the lines of one turn are written together, and those of the next turn after them", async () => {
  const { log, messages } = open();
  log.info("a");
  log.warn("b");
  expect(messages()).toEqual([]);
  await turn();
  expect(messages()).toEqual([["a", "b"]]);
  log.info("c");
  await turn();
  expect(messages()).toEqual([["a", "b"], ["c"]]);
});

test("an error is written at once, after the lines before it", () => {
  const { log, messages } = open();
  log.info("a");
  log.error("b");
  expect(messages()).toEqual([["a", "b"]]);
});

test("much text is not held back", () => {
  const { log, messages } = open();
  log.info("x".repeat(70_000));
  expect(messages()).toHaveLength(1);
});

test("lines that are held when the process ends are written", () => {
  const { log, lines, messages } = open();
  log.info("a");
  lines.flush();
  expect(messages()).toEqual([["a"]]);
});
