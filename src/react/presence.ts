"use client";

/** React bindings for presence. */
import { useCallback, useEffect, useRef, useState } from "react";
import type { TidewireError } from "../client/client.ts";
import {
  type Entry,
  type EntryState,
  enter,
  type PresenceEntry,
  whoIsIn,
} from "../client/presence/presence.ts";
import { useLiveQuery, useTidewire } from "./react.ts";

/** A room as one who is in it sees it. */
export interface RoomPresence<D extends object> {
  /** Everybody in the room, the own entry included. A user with several tabs has several entries. */
  readonly entries: readonly PresenceEntry<D>[];
  /** Whether this component is in the room. */
  readonly status: EntryState["status"];
  /** Why it is not, or why the others cannot be shown. */
  readonly error: TidewireError | undefined;
  /** Replaces the own data, without a render of this component. The same function in every render. */
  readonly update: (data: D) => void;
}

const ENTERING: EntryState = { status: "entering", error: undefined };

/**
 * Is in a room as long as the component is mounted, and follows who else is. Others see when `data` differs from that of
 * the render before.
 * @param room `null` or `undefined` for none yet.
 */
export function usePresence<D extends object = Record<string, unknown>>(
  room: string | null | undefined,
  data?: D,
): RoomPresence<D> {
  const client = useTidewire();
  const [state, setState] = useState<EntryState>(ENTERING);
  const entry = useRef<Entry<D> | undefined>(undefined);
  const latest = useRef(data);
  latest.current = data;
  const isIn = room !== null && room !== undefined;
  const text = data === undefined ? "" : JSON.stringify(data);
  const sent = useRef("");
  useEffect(() => {
    if (!isIn) return undefined;
    const own = enter<D>(client, room, latest.current);
    entry.current = own;
    sent.current = latest.current === undefined ? "" : JSON.stringify(latest.current);
    const unlisten = own.onState(setState);
    return () => {
      unlisten();
      own.leave();
      entry.current = undefined;
      setState(ENTERING);
    };
  }, [client, room, isIn]);
  useEffect(() => {
    if (text === sent.current || latest.current === undefined) return;
    sent.current = text;
    entry.current?.update(latest.current);
  }, [text]);
  const update = useCallback((next: D) => entry.current?.update(next), []);
  const others = useLiveQuery(isIn ? whoIsIn<D>(client, room) : null);
  return { entries: others.data, status: state.status, error: state.error ?? others.error, update };
}
