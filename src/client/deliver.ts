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
  switch (message.type) {
    case "snapshot":
      view?.snapshot(message);
      break;
    case "added":
    case "changed":
    case "removed":
      view?.change(message);
      break;
    case "reset":
      view?.reset(message);
  }
}
