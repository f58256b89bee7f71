import type { ServerMessage } from "../protocol/messages.ts";
import type { Link } from "./link.ts";

/**
 * Passes a message about documents to the view that it concerns. Messages of other types, and of views that are no
 * longer shown, are ignored.
 * @param scope The subscription of the message, if each subscription has its own stream.
 */
export function deliver(link: Link, message: ServerMessage, scope: string | undefined): void {
  if (message.type === "watermark") {
    for (const [key, held] of link.views) {
      if (scope === undefined || scope === key) held.watermark(message.cursor);
    }
    return;
  }
  const view = "query" in message ? link.views.get(scope ?? String(message.query)) : undefined;
  if (message.type === "snapshot") view?.snapshot(message);
  else if (message.type === "reset") view?.reset(message);
  else if (message.type === "added" || message.type === "changed" || message.type === "removed")
    view?.change(message);
}
