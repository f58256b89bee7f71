/** Up to where a client knows of what was delivered: by the told head, or by what it was sent itself. */
import { AFTER, coversForClients, isLaterForClients } from "../feed/cursor.ts";
import type { Feed } from "../feed/feed.ts";
import type { Attachment } from "./attachment.ts";

type Sent = Iterable<Pick<Attachment, "sent">>;

/** The told head, or a later position that the client knows already; for when nothing is missing on the attachments. */
export function toldCursor(feed: Feed, attachments: Sent): string {
  let { position, cursor } = feed.settledTold;
  for (const { sent } of attachments) {
    if (sent === null || sent.cursor === cursor) continue;
    if (isLaterForClients(sent.position, position)) ({ position, cursor } = sent);
    else if (!isLaterForClients(position, sent.position)) {
      // Two commits of one time, whose order is unknown: all of that time has come.
      position = { ...position, within: AFTER };
      cursor = feed.encode(position);
    }
  }
  return cursor;
}

/** Whether the client was sent a change that lets it know of everything up to a cluster time. */
export function hasBeenSent(attachments: Sent, clusterTime: bigint): boolean {
  for (const { sent } of attachments) {
    if (sent !== null && coversForClients(sent.position, clusterTime)) return true;
  }
  return false;
}
