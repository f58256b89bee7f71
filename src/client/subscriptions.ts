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
import type { Companion } from "./companion.ts";
import type { Link } from "./link.ts";
import type { LiveResult } from "./live-result.ts";
import { toError } from "./to-error.ts";
import { View } from "./view.ts";

/**
 * The first pause before a refused subscription is requested again, in milliseconds. Later ones grow up to the maximum.
 */
const ASK_AGAIN_MS = 1_000;
const ASK_AGAIN_MAX_MS = 30_000;

/** The messages that answer or end a subscription, or report an error. */
export type Answer = SubscribedMessage | UnsubscribedMessage | ErrorMessage;

/** Events of subscriptions, for the session. */
export interface SubscriptionsEvents {
  /** The subscription is to be requested again, after a while. */
  askLater(link: Link, result: LiveResult, delayMs: number): void;
  /** It has ended permanently, and its kept copy is void. */
  ended(result: LiveResult): void;
  /** A message of the connection makes no sense. */
  broken(link: Link): void;
}

/** The subscriptions of a client, and the answers of the service (docs/protocol.md, section 3.3). */
export class Subscriptions {
  readonly results = new Map<string, LiveResult>();
  readonly #events: SubscriptionsEvents;
  readonly #random: () => number;
  /** Results whose kept copies were read. A request before that would fetch everything again. */
  readonly #ready = new WeakSet<LiveResult>();
  /** Results that were requested on a connection, in the order of the messages. */
  readonly #sent = new WeakMap<Link, Set<LiveResult>>();

  #companion: Companion | undefined;

  constructor(events: SubscriptionsEvents, random: () => number) {
    this.#events = events;
    this.#random = random;
  }

  /** Another user of the connection, which asks and receives along with the subscriptions. */
  get companion(): Companion | undefined {
    return this.#companion;
  }

  attach(companion: Companion): void {
    this.#companion = companion;
  }

  /** Whether anything needs the connection. */
  get areNeeded(): boolean {
    return this.results.size > 0 || this.#companion?.isNeeded === true;
  }

  /** The kept copy of a result was read. */
  ready(result: LiveResult): void {
    this.#ready.add(result);
  }

  /** Requests a result, resuming from its current state. */
  ask(link: Link, result: LiveResult): void {
    if (!this.#ready.has(result)) return;
    link.asked.add(result);
    // The message is made when the rate limit admits it, with the cursor of that moment, because changes arrive until
    // then.
    const make = (): SubscribeMessage | undefined => {
      if (!link.asked.has(result)) return undefined;
      // Another query resumes the view that both share. A second resumption would bring every missed change twice.
      const resumePoint = this.#isResumed(link, result) ? undefined : result.resumePoint;
      if (resumePoint !== undefined) result.view.resuming();
      return { ...result.request, type: "subscribe", id: result.id, ...resumePoint };
    };
    link.requests.add(make, JSON.stringify(result.request));
  }

  /** Whether another result with the same view was requested on this connection. Notes the request of this one. */
  #isResumed(link: Link, result: LiveResult): boolean {
    const sent = this.#sent.get(link) ?? new Set();
    this.#sent.set(link, sent);
    const isResumed = [...sent].some(
      (other) => other !== result && other.view === result.view && this.results.has(other.id),
    );
    sent.add(result);
    return isResumed;
  }

  /** Requests every result that was not requested on this connection yet. */
  askAll(link: Link): void {
    for (const result of this.list) {
      if (!link.asked.has(result) && !link.serves.has(result)) this.ask(link, result);
    }
    this.#companion?.ask(link);
  }

  /** The old connection broke before the new one had answered every request. */
  takenOver(link: Link): void {
    for (const result of this.list) {
      if (link.isReady && !link.asked.has(result)) continue;
      result.advance("lost");
      result.advance("attempt");
    }
  }

  /** A copy, so that a listener may add or remove results. */
  get list(): LiveResult[] {
    return [...this.results.values()];
  }

  /** Reports an error to all of them. Another attempt follows. */
  note(error: TidewireError): void {
    for (const result of this.list) result.note(error);
  }

  /** The only connection has ended, and another attempt follows. */
  disconnected(error: TidewireError): void {
    for (const result of this.list) {
      result.advance("lost");
      result.note(error);
    }
  }

  /** Takes newer tickets, by the ids of their subscriptions. */
  renewed(tickets: Readonly<Record<string, string>>): void {
    for (const [id, ticket] of Object.entries(tickets)) this.results.get(id)?.renewed(ticket);
  }

  remove(result: LiveResult, links: readonly Link[]): void {
    result.end();
    if (!this.results.delete(result.id)) return;
    for (const link of links) {
      link.asked.delete(result);
      link.serves.delete(result);
      link.send({ type: "unsubscribe", id: result.id });
      link.prune();
    }
  }

  /** Whether a connection delivers for the subscription with this id. */
  isServed(id: string | undefined, link: Link | undefined): boolean {
    const result = id === undefined ? undefined : this.results.get(id);
    return result !== undefined && link?.serves.has(result) === true;
  }

  /**
   * Handles `subscribed`.
   * @param others Connections that delivered for it before, and whose messages no longer count.
   */
  subscribed(
    link: Link,
    message: SubscribedMessage,
    scope: string | undefined,
    others: readonly Link[],
  ): void {
    const result = this.results.get(message.id);
    if (result === undefined) return;
    link.asked.delete(result);
    link.serves.add(result);
    const key = scope ?? String(message.query);
    const before = result.view;
    // Resumed on the connection that already delivers this view, so the view stays attached.
    const goesOn = message.start === "resumed" && link.views.get(key) === before;
    if (!goesOn && !this.#start(link, result, message, key, scope)) {
      this.#events.broken(link);
      return;
    }
    result.renewed(message.ticket);
    for (const other of others) {
      other.forget(result.view);
      other.prune();
    }
    link.prune();
    if (goesOn && result.state.status === "live") return;
    result.advance("subscribed");
    if (result.view.isCurrent) result.advance("caught-up");
  }

  error(link: Link, message: ErrorMessage): void {
    const result = message.id === undefined ? undefined : this.results.get(message.id);
    if (result === undefined) return;
    // Requested twice, because an answer was given up too early. The first request counts.
    if (message.code === "duplicate-id") return;
    const isAnswer = link.asked.delete(result);
    if (isAnswer) result.view.resumeFailed();
    const error = toError(message);
    if (!isAnswer && error.details["limit"] === "aggregateGroups") {
      // An aggregate has grown beyond its limit. Nothing more follows.
      this.#end(result, error);
    } else if (!isAnswer) {
      // The next message shows whether the subscription continues.
      result.note(error, true);
    } else if (message.retry === "never") {
      this.#end(result, error);
    } else {
      result.advance("refused");
      result.note(error);
      const mostMs = Math.min(ASK_AGAIN_MAX_MS, ASK_AGAIN_MS * 2 ** result.countRefusal());
      this.#events.askLater(link, result, (message.retryAfterMs ?? 0) + this.#random() * mostMs);
    }
    link.prune();
  }

  unsubscribed(link: Link, { id, reason }: UnsubscribedMessage): void {
    const result = this.results.get(id);
    if (result === undefined) return;
    this.#end(result, endError(reason, result.ownError));
    link.prune();
  }

  /** A connection has ended before it had answered every request. */
  lost(link: Link, others: readonly Link[]): void {
    for (const result of link.asked) {
      if (!others.some((other) => other.asked.has(result))) result.view.resumeFailed();
    }
    link.asked.clear();
    this.#companion?.lost();
  }

  #end(result: LiveResult, error: TidewireError): void {
    this.results.delete(result.id);
    result.end();
    result.stop(error);
    this.#events.ended(result);
  }

  /**
   * Starts the result as the answer says.
   * @returns `false` if the answer makes no sense.
   */
  #start(
    link: Link,
    result: LiveResult,
    { start, from, cursor, reason }: SubscribedMessage,
    key: string,
    scope: string | undefined,
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
        return true;
      case "live":
        attach(present ?? fork(held)).begin(cursor);
        return true;
      case "resumed":
        attach([...link.views.values()].includes(held) ? fork(held) : held).resumed();
        return true;
      case "moved": {
        const base = link.views.get(scope ?? String(from)) ?? held;
        const isOthers = [...base.watchers].some((watcher) => watcher !== result);
        if (!isOthers) link.forget(base);
        attach(isOthers ? fork(base) : base).rightsMoved();
        return true;
      }
      case "shared":
        if (present === undefined) return false;
        if (present !== held) {
          attach(present);
          // Another query has followed this view until now, so the listeners of this one have received nothing of it.
          const { cursor, list } = present;
          if (cursor !== undefined) result.changed({ type: "snapshot", docs: list });
        }
        return true;
    }
  }
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
  if (own !== undefined && (code !== "forbidden" || own.code === code)) return own;
  return new TidewireError(code, `the service ended it: ${reason}`, { reason }, { cause: own });
}

/**
 * Stops a query with the whole client. It stays requested, because `connect` starts it again.
 * @param onForbidden Removes the kept copy, which must not appear after the next page load.
 */
export function stopResult(
  result: LiveResult,
  error: TidewireError | undefined,
  onForbidden: (result: LiveResult) => void,
): void {
  result.stop(error);
  if (error?.code === "forbidden") onForbidden(result);
}
