import type { Paint } from "../terminal/paint.ts";
import type { LogEntry } from "./change-log.ts";
import type { Mark, Row, Shown } from "./view.ts";

/** One viewer's part of the board. */
export interface Column {
  readonly title: string;
  readonly sees: string;
  /** The state of its connection; empty while it is live. */
  readonly state: string;
  readonly rows: readonly Row[];
}

/** All data of one frame. */
export interface Screen {
  readonly columns: readonly Column[];
  readonly log: readonly LogEntry[];
  /** The last thing that happened to the demo's processes. */
  readonly note: string;
  readonly viewers: readonly string[];
  /** The address of the page, which shows the same and more. */
  readonly page: string;
}

/** With the separators, 80 characters in total. */
const WIDTHS = [32, 22, 22] as const;
const BORDER = " │";
const BOARD_ROWS = 11;
const BOARD_ROWS_MIN = 3;
/** Title, subtitle, the rule below the board, note and keys. */
const OTHER_ROWS = 5;
const LOG_ROWS_MAX = 8;

const amount = (value: number | undefined) => (value === undefined ? "" : value.toFixed(1));

/** The text of each column, in the order of the viewers. A field that the viewer may not see is absent. */
const CELLS: readonly ((shown: Shown) => string)[] = [
  ({ _id, status = "", customer = "", total, margin }) =>
    `${_id} ${status.padEnd(9)} ${customer.padEnd(4)} ${amount(total).padStart(5)} ${amount(margin).padStart(5)}`,
  ({ _id, status = "", total, margin }) =>
    `${_id} ${status.padEnd(9)} ${amount(total).padStart(5)} ${amount(margin)}`,
  ({ _id, status = "", address = "" }) => `${_id} ${status.padEnd(6)} ${address}`,
];

/** Draws the board as lines of at most `width` characters, colours aside, and at most `height` of them. */
export function drawScreen(screen: Screen, size: { width: number; height: number }, paint: Paint): string[] {
  const { columns, log, note, viewers, page } = screen;
  const boardRows = Math.max(BOARD_ROWS_MIN, Math.min(BOARD_ROWS, size.height - OTHER_ROWS));
  const logRows = Math.max(0, Math.min(LOG_ROWS_MAX, size.height - OTHER_ROWS - BOARD_ROWS));
  const join = (cells: readonly string[]) => cells.join(paint.dim(BORDER));
  const cell = (text: string, index: number, colour: (text: string) => string) =>
    colour(clip(text, WIDTHS[index] ?? 0));
  const titles = columns.map(({ title, state }, index) =>
    state === ""
      ? cell(` ${title}`, index, paint.bold)
      : cell(` ${viewers[index]}: ${state}`, index, paint.reverse),
  );
  const subtitles = columns.map(({ sees }, index) => cell(` ${sees}`, index, paint.dim));
  const board = Array.from({ length: boardRows }, (_, at) =>
    join(
      columns.map(({ rows }, index) => {
        const row = rows[at];
        if (row === undefined) return cell("", index, (text) => text);
        const text = `${row.mark ?? " "}${CELLS[index]?.(row.shown) ?? ""}`;
        return cell(text, index, colourOf(row.mark, paint));
      }),
    ),
  );
  const entries = log.slice(Math.max(0, log.length - logRows)).map((entry) => logLine(entry, viewers, paint));
  const lines = [
    join(titles),
    join(subtitles),
    ...board,
    paint.dim("─".repeat(Math.min(80, size.width))),
    ...entries,
    ...Array.from({ length: logRows - entries.length }, () => ""),
    paint.dim(clip(note, Math.min(80, size.width))),
    paint.cyan(clip(`${page}   q quits, k kills the service: the views resume`, Math.min(80, size.width))),
  ];
  return lines.slice(0, size.height);
}

const TEXT_WIDTH = 36;

/** One write: a description, and the change that each viewer received. */
function logLine({ atMs, id, text, marks }: LogEntry, viewers: readonly string[], paint: Paint): string {
  const told = viewers.map((name) => {
    const mark = marks.get(name) ?? null;
    return colourOf(mark, paint)(`${name} ${mark ?? "·"}`);
  });
  return `${paint.dim(timeOf(atMs))} ${id} ${clip(text, TEXT_WIDTH)} ${told.join("   ")}`;
}

/** The local time of day, as `HH:MM:SS`. */
export const timeOf = (atMs: number) => new Date(atMs).toTimeString().slice(0, 8);

function colourOf(mark: Mark | null, paint: Paint): (text: string) => string {
  if (mark === "+") return paint.green;
  if (mark === "~") return paint.yellow;
  return mark === "-" ? paint.red : (text) => text;
}

const clip = (text: string, width: number) =>
  (text.length > width ? `${text.slice(0, Math.max(0, width - 1))}…` : text).padEnd(width);
