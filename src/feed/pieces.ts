/**
 * Divides the events of a commit into pieces. A transaction may contain many thousand events, and matching them in one
 * turn would stall every other client.
 */
import type { StreamEvent } from "../source/change-event.ts";

/** How many events of one commit are matched before the event loop runs other work. */
const STEP_EVENTS = 100;
/** How many bytes of documents are matched before that. A larger event is a piece of its own. */
export const STEP_BYTES = 64 * 1_024;

/** Size of the documents before and after an event, in bytes. */
export function imageBytesOf(event: StreamEvent): number {
  if (event.operation === "replaced-collection") return 0;
  return (event.before?.length ?? 0) + (event.after?.length ?? 0);
}

/** Whether the events are more than one piece, or form one that takes long. */
export function isLong(events: readonly StreamEvent[]): boolean {
  if (events.length > STEP_EVENTS) return true;
  let bytes = 0;
  for (const event of events) bytes += imageBytesOf(event);
  return bytes > STEP_BYTES;
}

/**
 * The events of a commit in pieces of at most 100 events, and at most 64 KiB of documents unless one event is larger.
 */
export function* piecesOf(events: readonly StreamEvent[]): Generator<readonly StreamEvent[], void> {
  let piece: StreamEvent[] = [];
  let bytes = 0;
  for (const event of events) {
    const size = imageBytesOf(event);
    if (piece.length === STEP_EVENTS || (piece.length > 0 && bytes + size > STEP_BYTES)) {
      yield piece;
      piece = [];
      bytes = 0;
    }
    piece.push(event);
    bytes += size;
  }
  if (piece.length > 0) yield piece;
}
