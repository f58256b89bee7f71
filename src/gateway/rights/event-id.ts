/**
 * The `id` of a server-sent event (docs/protocol.md, section 7). A browser's own reconnection returns nothing else, as
 * `Last-Event-ID`. It contains a mark of the service, the ticket, and the cursor to continue from.
 */
export interface EventId {
  /**
   * Proves that the ticket was sent with an event. A ticket alone may have been part of a URL, and so may be in logs.
   */
  readonly mark: string;
  readonly ticket: string;
  /** `START_OVER` if the data sent so far is incomplete, `ENDED` if nothing more will follow. */
  readonly cursor: string;
}

/** Instead of a cursor: the snapshot was incomplete, so a reconnection starts over. */
export const START_OVER = "";
/** Instead of a cursor: the subscription has ended, so nothing follows. */
export const ENDED = "end";

/** The beginning of all ids of a stream: the mark and the ticket. */
export const idPrefix = (mark: string, ticket: string): string => `${mark}.${ticket}.`;

const SHAPE = /^([\w-]{1,100})\.([\w-]{1,2000})\.([\w-]{0,200})$/;

/**
 * Parses an id; `null` if it cannot be one of this service. Whether it is genuine is decided by the mark and the
 * ticket.
 */
export function parseEventId(text: string): EventId | null {
  const [, mark, ticket, cursor] = SHAPE.exec(text) ?? [];
  if (mark === undefined || ticket === undefined || cursor === undefined) return null;
  return { mark, ticket, cursor };
}
