/**
 * The `id` of a server-sent event (docs/protocol.md, section 7): all that a browser's own reconnection brings
 * back, as `Last-Event-ID`. It holds a mark of the service, the ticket, and where to go on.
 */
export interface EventId {
  /** Shows that the ticket went out with an event: a ticket alone may have stood in a URL, for all logs to see. */
  readonly mark: string;
  readonly ticket: string;
  /** `START_OVER` where what was sent is not whole yet, `ENDED` where nothing more will ever come. */
  readonly cursor: string;
}

/** In place of a cursor: the snapshot was not complete, so a reconnection starts again. */
export const START_OVER = "";
/** In place of a cursor: the subscription has ended, so nothing follows. */
export const ENDED = "end";

/** The mark and the ticket of a stream, which all its ids begin with. */
export const idPrefix = (mark: string, ticket: string): string => `${mark}.${ticket}.`;

const SHAPE = /^([\w-]{1,100})\.([\w-]{1,2000})\.([\w-]{0,200})$/;

/** Reads an id; `null` where it cannot be one of ours. Whether it is genuine is for the mark and the ticket to say. */
export function parseEventId(text: string): EventId | null {
  const [, mark, ticket, cursor] = SHAPE.exec(text) ?? [];
  if (mark === undefined || ticket === undefined || cursor === undefined) return null;
  return { mark, ticket, cursor };
}
