/** The part of a list that is on the screen. */
interface Viewport {
  readonly scrollTop: number;
  readonly height: number;
  readonly rows: number;
  readonly rowHeight: number;
}

/** Rows above and below the screen that are rendered as well, so that scrolling shows no gaps. */
const SPARE_ROWS = 12;

/** The rows to render: from `from` to before `to`. */
export function visibleRows({ scrollTop, height, rows, rowHeight }: Viewport): { from: number; to: number } {
  const first = Math.floor(Math.max(0, scrollTop) / rowHeight);
  const last = Math.ceil((Math.max(0, scrollTop) + height) / rowHeight);
  const from = Math.min(Math.max(0, first - SPARE_ROWS), Math.max(0, rows - 1));
  return { from, to: Math.min(rows, last + SPARE_ROWS) };
}
