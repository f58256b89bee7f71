import type { AnswerOf } from "../../admin/api/endpoints.ts";

/** An entry of a trace. */
export type Entry = AnswerOf<"readTrace">["entries"][number];
/** A change event. */
export type ChangeEntry = Extract<Entry, { readonly kind: "change" }>;
/** A decision about rights. */
export type RightsEntry = Extract<Entry, { readonly kind: "rights" }>;

/** The badge of each effect. */
export const BADGES = {
  added: "good",
  changed: "accent",
  removed: "bad",
  none: "",
  unknown: "warn",
} as const;

/** The page keeps no more entries than this. */
export const ENTRIES_MAX = 1_000;

/** Adds entries to those that are known, the latest first. An entry that has changed replaces its earlier form. */
export function mergeEntries(known: readonly Entry[], received: readonly Entry[]): readonly Entry[] {
  if (received.length === 0) return known;
  const byKey = new Map(known.map((entry) => [entry.key, entry]));
  for (const entry of received) byKey.set(entry.key, entry);
  return [...byKey.values()].sort(laterFirst).slice(0, ENTRIES_MAX);
}

function laterFirst(a: Entry, b: Entry): number {
  if (a.at !== b.at) return a.at < b.at ? 1 : -1;
  return numberOf(b) - numberOf(a);
}

/** The place of an entry in the order of its process, which is the end of its key. */
const numberOf = ({ key }: Entry): number => Number(key.slice(key.lastIndexOf(".") + 1));

/** Whether an event has changed a result that is listed, or whether that is unknown. */
export const hasEffect = (entry: Entry): boolean =>
  entry.kind === "rights" || entry.decisions.some(({ effect }) => effect !== "none");

/** The decisions of an event in few words. */
export function decisionText({ decisions, otherLiveQueries }: ChangeEntry): string {
  const counts = new Map<string, number>();
  for (const { effect } of decisions) counts.set(effect, (counts.get(effect) ?? 0) + 1);
  const parts = [...counts].map(([effect, times]) => (times === 1 ? effect : `${times} × ${effect}`));
  if (otherLiveQueries > 0) parts.push(`${otherLiveQueries} not listed`);
  return parts.join(", ") || "no live query";
}

/** The deliveries of an event, in few words. */
export function sentText({ decisions }: ChangeEntry): string {
  const sends = decisions.flatMap((decision) => decision.sends);
  const others = decisions.reduce((sum, { otherSends }) => sum + otherSends, 0);
  const waiting = sends.filter(({ state }) => state !== "sent");
  const sent = sends.length - waiting.length;
  const parts = [
    ...(sent > 0 ? [`to ${sent}${others > 0 ? ` and ${others} more` : ""}`] : []),
    ...(waiting.length > 0 ? [`${waiting.length} waiting`] : []),
  ];
  return parts.join(", ") || "nothing";
}

/** The lags of the way from the write to one outbox, in milliseconds. */
export interface Lags {
  readonly read: number;
  readonly match: number;
  readonly send: number;
}

export const sumOf = ({ read, match, send }: Lags): number => read + match + send;

/** The lags to the last outbox; `null` if nothing was sent, or the server does not say when it was written. */
export function lastLags({ readAfterMs, decisions }: ChangeEntry): Lags | null {
  if (readAfterMs === null) return null;
  const all = decisions.flatMap(({ matchedAfterMs, sends }) =>
    sends.flatMap(({ afterMs }) =>
      afterMs === null ? [] : [{ read: readAfterMs, match: matchedAfterMs ?? 0, send: afterMs }],
    ),
  );
  return all.reduce<Lags | null>(
    (most, one) => (most === null || sumOf(one) > sumOf(most) ? one : most),
    null,
  );
}

/** From the write to the last outbox, in milliseconds. */
export function totalLag(entry: ChangeEntry): number | null {
  const lags = lastLags(entry);
  return lags === null ? null : sumOf(lags);
}

/** The fields of a document that an event has changed; `null` unless both documents are there and complete. */
export function changedFields({ before, after }: Pick<ChangeEntry, "before" | "after">): string[] | null {
  const [was, is] = [objectOf(before), objectOf(after)];
  if (was === null || is === null) return null;
  const names = new Set([...Object.keys(was), ...Object.keys(is)]);
  return [...names].filter((name) => JSON.stringify(was[name]) !== JSON.stringify(is[name]));
}

/** A document in lines, or as it is if the node has cut it. */
export function documentText(text: string | null): string {
  if (text === null) return "no document";
  const document = objectOf(text);
  return document === null ? text : JSON.stringify(document, null, 2);
}

function objectOf(text: string | null): Readonly<Record<string, unknown>> | null {
  if (text === null) return null;
  try {
    return JSON.parse(text) as Readonly<Record<string, unknown>>; // the node writes objects
  } catch {
    return null; // the node has cut it
  }
}
