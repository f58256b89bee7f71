import { Writable } from "node:stream";
import { type Paint, paintWith } from "./paint.ts";

const LEVELS: Readonly<Record<number, readonly [label: string, colour: keyof Paint]>> = {
  10: ["TRACE", "dim"],
  20: ["DEBUG", "dim"],
  30: ["INFO ", "green"],
  40: ["WARN ", "yellow"],
  50: ["ERROR", "red"],
  60: ["FATAL", "red"],
};
/** Fields that the line shows in another place, or that are the same on every line of a process. */
const OWN_FIELDS = new Set(["level", "time", "msg", "err", "pid", "hostname"]);

/** One entry of the log as a line for a person. Text that is no entry is returned unchanged. */
export function logLine(json: string, paint: Paint): string {
  const entry = entryOf(json);
  if (entry === undefined) return json;
  const { level, time, msg, err } = entry;
  const [label, colour] = LEVELS[Number(level)] ?? ["     ", "dim"];
  const at = new Date(Number(time));
  const clock = Number.isNaN(at.getTime()) ? "" : at.toTimeString().slice(0, 8);
  const fields = Object.entries(entry).flatMap(([name, value]) =>
    OWN_FIELDS.has(name) ? [] : [`${name}=${typeof value === "string" ? value : JSON.stringify(value)}`],
  );
  const details = [...fields, ...errorOf(err)].map(printable).join(" ");
  const parts = [paint.dim(clock), paint[colour](label), printable(String(msg ?? "")), paint.dim(details)];
  return parts.join(" ").trimEnd();
}

function entryOf(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    // The condition has checked that it is an object.
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // a line that another library printed
  }
}

function errorOf(err: unknown): string[] {
  if (typeof err !== "object" || err === null || !("message" in err)) return [];
  return [`error=${JSON.stringify(err.message)}`];
}

/** Control characters as escapes: a client's text must not move the cursor of the terminal. */
const printable = (text: string) =>
  text.replaceAll(/\p{Cc}/gu, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`);

/** A stream that takes the log's JSON lines and writes lines for a person. */
export function readableLog(write: (line: string) => void, colour: boolean): Writable {
  const paint = paintWith(colour);
  let rest = "";
  return new Writable({
    decodeStrings: false,
    write(chunk: unknown, _encoding, done) {
      const lines = (rest + String(chunk)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) write(logLine(line, paint));
      done();
    },
  });
}
