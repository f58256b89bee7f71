import { amount } from "../protocol/amount.ts";
import type { ServerMessage } from "../protocol/messages.ts";
import type { FollowEnd, FollowState } from "../terminal/followed-query.ts";
import { type Paint, paintWith } from "../terminal/paint.ts";

/** The text for a message: `out` for the result, `note` for the status of the subscription. */
export interface TailText {
  readonly out?: readonly string[];
  readonly note?: string;
}

/** Turns what a `FollowedQuery` reports into lines for a terminal. */
export class TailWriter {
  readonly #paint: Paint;
  #documents = 0;

  constructor(colour: boolean) {
    this.#paint = paintWith(colour);
  }

  message(message: ServerMessage): TailText {
    const { green, yellow, red, dim } = this.#paint;
    switch (message.type) {
      case "subscribed":
        this.#documents = 0;
        return { note: subscribedText(message) };
      case "snapshot": {
        this.#documents += message.docs.length;
        const out = message.docs.map((doc) => `= ${JSON.stringify(doc)}`);
        if (!message.last) return { out };
        const { length } = out;
        const what = amount(this.#documents, "document");
        return { ...(length > 0 ? { out } : {}), note: `${what}; changes follow as they come` };
      }
      case "added":
        return { out: [`${green("+")} ${dim(message.cause)} ${JSON.stringify(message.doc)}`] };
      case "changed": {
        const { cause, doc, _id, set, unset } = message;
        const what = JSON.stringify(doc ?? { _id, set, unset });
        return { out: [`${yellow("~")} ${dim(cause)} ${what}`] };
      }
      case "removed":
        return { out: [`${red("-")} ${dim(message.cause)} ${JSON.stringify(message._id)}`] };
      case "reset":
        this.#documents = 0;
        return { note: `reset (${message.reason}): what came before is void` };
      case "error":
        return { note: `${message.code}: ${message.message}` };
      case "expiring":
        return { note: `the token expires in ${seconds(message.inMs)}` };
      case "refreshed":
        return { note: "the new token was taken" };
      default:
        return {};
    }
  }
}

function subscribedText(message: Extract<ServerMessage, { type: "subscribed" }>): string {
  switch (message.start) {
    case "snapshot":
      return "subscribed: the documents follow";
    case "live":
      return "subscribed: changes follow as they come";
    case "resumed":
      return "resumed: what was missed follows, then what comes";
    case "reset":
      return `reset (${message.reason ?? "unknown"}): what came before is void`;
    case "moved":
      return "the rights changed: the difference follows";
    case "shared":
      return "subscribed";
  }
}

const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;

/** The state of a followed query, as one line for a terminal. */
export function stateText(state: FollowState, url: string): string {
  switch (state.is) {
    case "connecting":
      return `connecting to ${url}`;
    case "connected": {
      const { node, user } = state.welcome;
      return `connected to node ${node}${user === null ? ", anonymous" : ` as ${user}`}`;
    }
    case "waiting": {
      const why = state.reason === "" ? `${state.code}` : `${state.code}, ${state.reason}`;
      if (state.reason.includes("ECONNREFUSED"))
        return `nothing listens at ${url}: is the service running? Again in ${seconds(state.delayMs)}`;
      return `connection lost (${why}): again in ${seconds(state.delayMs)}`;
    }
    case "moving":
      return `the node goes away within ${seconds(state.withinMs)}: moving to another connection`;
  }
}

/** `undefined` where nothing went wrong. */
export function endText(end: FollowEnd): string | undefined {
  switch (end.why) {
    case "stopped":
      return undefined;
    case "closed":
      return `the service ended the connection (${end.code}${end.reason === "" ? "" : `, ${end.reason}`})`;
    case "refused":
      return "the subscription was refused";
    case "unsubscribed":
      return `the subscription has ended: ${end.reason}`;
    case "no-token":
      return "the token is not good any more: get a new one";
  }
}
