import { useCallback, useEffect, useRef, useState } from "react";

/** One page of a list. */
export interface ListPage<Row> {
  readonly rows: readonly Row[];
  /** The cursor of the next page; `null` on the last one. */
  readonly next: string | null;
}

/** Reads the page after a cursor; `null` for the first one. */
export type LoadPage<Row> = (cursor: string | null, signal: AbortSignal) => Promise<ListPage<Row>>;

/** A list as far as it was read. */
export interface Pages<Row> {
  readonly rows: readonly Row[];
  readonly isComplete: boolean;
  /** Whether the first page is still missing. */
  readonly isFirst: boolean;
  readonly error: unknown;
  readonly answeredAtMs: number;
  /** Reads the next page, unless one is being read. */
  readonly more: () => void;
  readonly reload: () => void;
}

interface State<Row> {
  readonly rows: readonly Row[];
  readonly pages: number;
  readonly next: string | null;
  readonly error: unknown;
  readonly answeredAtMs: number;
}

const REFRESH_MS = 5_000;
const EMPTY = { rows: [], pages: 0, next: null, error: null, answeredAtMs: 0 } as const;

/**
 * Reads a list page by page. While only the first page is shown, it is read again at intervals. Later pages stay as
 * they are until `reload`, so that rows do not move under a reader.
 * @param load Has to stay the same function while the search is the same.
 */
export function usePages<Row>(load: LoadPage<Row>): Pages<Row> {
  const [state, setState] = useState<State<Row>>(EMPTY);
  const latest = useRef<State<Row>>(EMPTY);
  const isBusy = useRef(false);
  const abort = useRef(new AbortController());
  const put = useCallback((next: State<Row>) => {
    latest.current = next;
    setState(next);
  }, []);
  const read = useCallback(
    async (cursor: string | null) => {
      if (isBusy.current) return;
      isBusy.current = true;
      const { signal } = abort.current;
      try {
        const page = await load(cursor, signal);
        if (signal.aborted) return;
        const before = cursor === null ? EMPTY : latest.current;
        const rows = [...before.rows, ...page.rows];
        put({ rows, pages: before.pages + 1, next: page.next, error: null, answeredAtMs: Date.now() });
      } catch (error) {
        if (!signal.aborted) put({ ...latest.current, error });
      } finally {
        if (!signal.aborted) isBusy.current = false;
      }
    },
    [load, put],
  );
  useEffect(() => {
    abort.current = new AbortController();
    isBusy.current = false;
    put(EMPTY);
    void read(null);
    const timer = setInterval(() => {
      if (latest.current.pages < 2) void read(null);
    }, REFRESH_MS);
    return () => {
      clearInterval(timer);
      abort.current.abort();
    };
  }, [read, put]);
  const more = useCallback(() => {
    const { next } = latest.current;
    if (next !== null) void read(next);
  }, [read]);
  const reload = useCallback(() => void read(null), [read]);
  const { rows, pages, next, error, answeredAtMs } = state;
  return {
    rows,
    isComplete: pages > 0 && next === null,
    isFirst: pages === 0,
    error,
    answeredAtMs,
    more,
    reload,
  };
}
