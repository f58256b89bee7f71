"use client";

/** React bindings for writes that are shown at once. */
import { useCallback, useRef, useState } from "react";
import type { Query } from "../client/client.ts";
import {
  type OptimisticChange,
  type OptimisticOptions,
  optimistic,
} from "../client/optimistic/optimistic.ts";

/** Writes of a component, and their state. */
export interface OptimisticWrite<R> {
  /** Shows a change at once, and makes the write: `optimistic` of the client. The same function in every render. */
  readonly write: <W>(
    change: OptimisticChange<R> | readonly OptimisticChange<R>[],
    write: Promise<W> | (() => Promise<W>),
    options?: OptimisticOptions,
  ) => Promise<W>;
  /** How many writes of this component are not settled yet. */
  readonly pending: number;
  /** Why the last write failed; `undefined` after the next one begins. */
  readonly error: unknown;
}

/**
 * Writes that a query shows at once.
 * @param query The query, or all queries that the changes may concern. They may be created again in every render.
 */
export function useOptimisticWrite<T extends object, R extends object>(
  query: Query<T, R> | readonly Query<T, R>[],
): OptimisticWrite<R> {
  const [{ pending, error }, setState] = useState<{ pending: number; error: unknown }>(IDLE);
  const latest = useRef(query);
  latest.current = query;
  const write = useCallback<OptimisticWrite<R>["write"]>(async (change, make, options) => {
    setState((state) => ({ pending: state.pending + 1, error: undefined }));
    let failure: unknown;
    try {
      return await optimistic(latest.current, change, make, options);
    } catch (thrown) {
      failure = thrown;
      throw thrown;
    } finally {
      setState((state) => ({ pending: state.pending - 1, error: failure ?? state.error }));
    }
  }, []);
  return { write, pending, error };
}

const IDLE = { pending: 0, error: undefined };
