/**
 * The subscriptions of a client and how they start. A start depends on the answer of the service and on what the client
 * already shows; queries with the same live query share a view, so one answer may concern several of them.
 */
import { TidewireError } from "../protocol/errors.ts";
import type {
  ErrorMessage,
  SubscribedMessage,
  SubscribeMessage,
  UnsubscribedMessage,
  UnsubscribedReason,
} from "../protocol/messages.ts";
import type { Link } from "./link.ts";
import type { LiveResult } from "./live-result.ts";
import type { StatusEvent } from "./status.ts";
import { toError } from "./to-error.ts";
import { View } from "./view.ts";

/**
 * The first pause before a refused subscription is requested again, in milliseconds. Later ones grow up to the maximum.
 */
const ASK_AGAIN_MS = 1_000;
const ASK_AGAIN_MAX_MS = 30_000;

/** The messages that answer or end a subscription, or report an error. */
export type Answer = SubscribedMessage | UnsubscribedMessage | ErrorMessage;

/** The subscriptions of a client, and the answers of the service (docs/protocol.md, section 3.3). */
export class Subscriptions {
  readonly results = new Map<string, LiveResult>();
  readonly #random: () => number;
  readonly #onEnded: (result: LiveResult) => void;

  /** @param onEnded A subscription has ended, and its kept copy is void. */
  constructor(random: () => number, onEnded: (result: LiveResult) => void) {
    this.#random = random;
    this.#onEnded = onEnded;
  }

  /** A copy, so that a listener may add or remove results. */
  get list(): LiveResult[] {
    return [...this.results.values()];
  }

  /** Requests a result, resuming from its current state. A result whose kept copy is still being read waits. */
  ask(link: Link, result: LiveResult): void {
    if (!result.asking.isReady) return;
    const { id, request } = result;
    link.asked.add(result);
    // The message is made when the rate limit admits it, with the cursor of that moment, because changes arrive until
    // then.
    const make = (): SubscribeMessage | undefined => {
      if (!link.asked.has(result)) return undefined;
      // Another query resumes the view that both share. A second resumption would bring every missed change twice.
      const isResumed = [...link.sent].some(
        (other) => other !== result && other.view === result.view && this.results.has(other.id),
      );
      link.sent.add(result);
      const resumePoint = isResumed ? undefined : result.resumePoint;
      if (resumePoint) result.view.resuming();
      return { ...request, type: "subscribe", id, ...resumePoint };
    };
    link.requests.add(make, JSON.stringify(request));
  }

  /** Requests every result that was not requested on this connection yet. */
  askAll(link: Link): void {
    for (const result of this.list) {
      if (!link.asked.has(result) && !link.serves.has(result)) this.ask(link, result);
    }
  }

  /** The old connection broke before the new one had answered every request. */
  takenOver(link: Link): void {
    for (const result of this.list) {
      if (link.isReady && !link.asked.has(result)) continue;
      result.advance("lost");
      result.advance("attempt");
    }
  }

  /** Reports an error to all of them. Another attempt follows. */
  note(error: TidewireError): void {
    for (const result of this.list) result.note(error);
  }

  /** Something has happened to all of them, perhaps because of an error. */
  advance(event: StatusEvent, error?: TidewireError): void {
    for (const result of this.list) {
      result.advance(event);
      if (error) result.note(error);
    }
  }

  /** Takes newer tickets, by the ids of their subscriptions. */
  renewed(tickets: Readonly<Record<string, string>>): void {
    for (const [id, ticket] of Object.entries(tickets)) this.results.get(id)?.renewed(ticket);
  }

  remove(result: LiveResult, links: readonly Link[]): void {
    const { id } = result;
    result.end();
    if (!this.results.delete(id)) return;
    for (const link of links) {
      link.drop(result);
      link.send({ type: "unsubscribe", id });
      link.prune();
    }
  }

  /**
   * Handles the answer to a request for this result, or its end.
   * @param scope The subscription of the message, if each subscription has its own stream.
   * @param others Connections that delivered for it before, and whose messages no longer count.
   * @returns `false` if the answer makes no sense.
   */
  answered(
    link: Link,
    result: LiveResult,
    message: Answer,
    scope: string | undefined,
    others: readonly Link[],
  ): boolean {
    let isValid = true;
    if (message.type === "subscribed") isValid = this.#subscribed(link, result, message, scope, others);
    else if (message.type === "error") this.#refused(link, result, message);
    else this.#end(result, endError(message.reason, result.ownError));
    link.prune();
    return isValid;
  }

  #subscribed(
    link: Link,
    result: LiveResult,
    message: SubscribedMessage,
    scope: string | undefined,
    others: readonly Link[],
  ): boolean {
    link.asked.delete(result);
    link.serves.add(result);
    const key = scope ?? String(message.query);
    // Resumed on the connection that already delivers this view, so the view stays attached.
    const goesOn = message.start === "resumed" && link.views.get(key) === result.view;
    if (!goesOn && !start(link, result, message, key, scope ?? String(message.from))) return false;
    result.renewed(message.ticket);
    for (const other of others) {
      other.forget(result.view);
      other.prune();
    }
    if (goesOn && result.state.status === "live") return true;
    result.advance("subscribed");
    if (result.view.isCurrent) result.advance("caught-up");
    return true;
  }

  #refused(link: Link, result: LiveResult, message: ErrorMessage): void {
    // Requested twice, because an answer was given up too early. The first request counts.
    if (message.code === "duplicate-id") return;
    const error = toError(message);
    const isAnswer = link.asked.delete(result);
    if (isAnswer) result.view.resumeFailed();
    // Nothing more follows after a refusal, and after an aggregate has grown beyond its limit.
    if (isAnswer ? message.retry === "never" : error.details["limit"] === "aggregateGroups") {
      this.#end(result, error);
    } else if (isAnswer) {
      result.advance("refused");
      result.note(error);
      const mostMs = Math.min(ASK_AGAIN_MAX_MS, ASK_AGAIN_MS * 2 ** result.asking.refusals++);
      link.later((message.retryAfterMs ?? 0) + this.#random() * mostMs, () => {
        if (this.results.has(result.id)) this.ask(link, result);
      });
    } else {
      // The next message shows whether the subscription continues.
      result.note(error, true);
    }
  }

  /** A connection has ended before it had answered every request. */
  lost(link: Link, others: readonly Link[]): void {
    for (const result of link.asked) {
      if (!others.some((other) => other.asked.has(result))) result.view.resumeFailed();
    }
    link.asked.clear();
  }

  /** Stops a query with the whole client. It stays requested, because `connect` starts it again. */
  stop(result: LiveResult, error: TidewireError | undefined): void {
    result.stop(error);
    // The kept copy must not appear after the next page load.
    if (error?.code === "forbidden") this.#onEnded(result);
  }

  #end(result: LiveResult, error: TidewireError): void {
    this.results.delete(result.id);
    result.end();
    result.stop(error);
    this.#onEnded(result);
  }
}

/**
 * Starts a result as the answer says.
 * @param key The key of its view on the connection.
 * @param from The key of the view whose documents it continues, if it has `moved`.
 * @returns `false` if the answer makes no sense.
 */
function start(
  link: Link,
  result: LiveResult,
  { start, cursor, reason }: SubscribedMessage,
  key: string,
  from: string,
): boolean {
  const { request, view: held } = result;
  const wantsSnapshot = request.snapshot !== false;
  const fork = (view: View) => new View(request.sort !== undefined, wantsSnapshot, view);
  const present = link.views.get(key);
  const attach = (view: View) => {
    link.views.set(key, view);
    result.show(view);
    return view;
  };
  switch (start) {
    case "snapshot":
    case "reset":
      attach(present ?? fork(held)).startOver(wantsSnapshot, reason, cursor);
      break;
    case "live":
      attach(present ?? fork(held)).begin(cursor);
      break;
    case "resumed":
      attach([...link.views.values()].includes(held) ? fork(held) : held).resumed();
      break;
    case "moved": {
      const base = link.views.get(from) ?? held;
      const isOthers = [...base.watchers].some((watcher) => watcher !== result);
      if (!isOthers) link.forget(base);
      attach(isOthers ? fork(base) : base).rightsMoved();
      break;
    }
    case "shared":
      if (!present) return false;
      if (present === held) break;
      attach(present);
      // Another query has followed this view until now, so the listeners of this one have received nothing of it.
      if (present.cursor !== undefined) result.changed({ type: "snapshot", docs: present.list });
  }
  return true;
}

/** The reasons after which the documents stay visible. A reason that this version does not know may be a missing right. */
const KEEPING_REASONS: readonly string[] = [
  "requested",
  "collection-dropped",
  "config",
] satisfies UnsubscribedReason[];

/**
 * The error of a query that the service has ended. A missing right always has its own code, because the code hides the
 * documents.
 */
function endError(reason: string, own: TidewireError | undefined): TidewireError {
  const code = KEEPING_REASONS.includes(reason) ? "unknown-collection" : "forbidden";
  if (own && (code !== "forbidden" || own.code === code)) return own;
  return new TidewireError(code, `the service ended it: ${reason}`, { reason }, { cause: own });
}
