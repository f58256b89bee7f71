import { duration } from "./numbers.ts";

/** A point in time as a clock shows it: `14:03:09`. */
export const clock = (atMs: number): string => new Date(atMs).toLocaleTimeString("en-GB");

/** A point in time with its milliseconds: `14:03:09.120`. */
export function preciseClock(at: string): string {
  const date = new Date(at);
  return `${clock(date.getTime())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** A date and a time: `2026-11-29 14:03:09`, in the time zone of the browser. */
export const dateTime = (at: string): string => {
  const date = new Date(at);
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19).replace("T", " ");
};

/** How long ago: `5 min ago`. Clocks of two machines differ, so that the future is now. */
export function ago(at: string, nowMs: number): string {
  const seconds = Math.floor((nowMs - Date.parse(at)) / 1_000);
  return seconds < 1 ? "just now" : seconds < 60 ? `${seconds} s ago` : `${duration(1_000 * seconds)} ago`;
}
