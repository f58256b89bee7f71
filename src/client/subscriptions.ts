import { type ErrorCode, TidewireError } from "../protocol/errors.ts";
import type {
  ErrorMessage,
  SubscribedMessage,
  SubscribeMessage,
  UnsubscribedMessage,
} from "../protocol/messages.ts";
import type { Link } from "./link.ts";
import type { LiveResult } from "./live-result.ts";
import { toError } from "./to-error.ts";
import { View } from "./view.ts";

/** A refused subscription is asked for again after at most this at first, in milliseconds. */
const ASK_AGAIN_MS = 1_000;
const ASK_AGAIN_MAX_MS = 30_000;

const ENDED: Readonly<Record<UnsubscribedMessage["reason"], ErrorCode>> = {
  requested: "internal",
  forbidden: "forbidden",
  "collection-dropped": "unknown-collection",
  config: "unknown-collection",
};

/** Tells the session about its subscriptions. */
export interface SubscriptionsEvents {
  /** The service is to be asked once more for it, after a while. */
  askLater(link: Link, result: LiveResult, delayMs: number): void;
  /** It has ended for good, and what was kept of it is void. */
  ended(result: LiveResult): void;
  /** A message of the connection makes no sense. */
  broken(link: Link): void;
}

/** The subscriptions of a client, and the answers of the service (docs/protocol.md, section 3.3). */
export class Subscriptions {
  readonly results = new Map<string, LiveResult>();
  readonly #events: SubscriptionsEvents;
  readonly #random: () => number;
  /** Results whose kept copies have been read. A request before that would fetch everything again. */
  readonly #ready = new WeakSet<LiveResult>();
  /** Results that a connection was asked for, in the order of the messages. */
  readonly #sent = new WeakMap<Link, Set<LiveResult>>();

  constructor(events: SubscriptionsEvents, random: () => number) {
    this.#events = events;
    this.#random = random;
  }

  /** The kept copy of a result has been read. */
  ready(result: LiveResult): void {
    this.#ready.add(result);
  }

  /** Asks for a result, going on from where it stands. */
  ask(link: Link, result: LiveResult): void {
    if (!this.#ready.has(result)) return;
    link.asked.add(result);
    // The message is made when the rate limit admits it, with the cursor of that moment: changes arrive until then.
    const make = (): SubscribeMessage | undefined => {
      if (!link.asked.has(result)) return undefined;
      // Another query resumes for the view that both share; a second resumption would bring every missed change again.
      const resumePoint = this.#isResumed(link, result) ? undefined : result.resumePoint;
      if (resumePoint !== undefined) result.view.resuming();
      return { ...result.request, type: "subscribe", id: result.id, ...resumePoint };
    };
    link.requests.add(make, JSON.stringify(result.request).length);
  }

  /** Whether the connection was asked for another result that shows the same view. From now on it was asked for this one. */
  #isResumed(link: Link, result: LiveResult): boolean {
    const sent = this.#sent.get(link) ?? new Set();
    this.#sent.set(link, sent);
    const isResumed = [...sent].some(
      (other) => other !== result && other.view === result.view && this.results.has(other.id),
    );
    sent.add(result);
    return isResumed;
  }

  /** Asks for every result that this connection was not asked for yet. */
  askAll(link: Link): void {
    for (const result of this.list) {
      if (!link.asked.has(result) && !link.serves.has(result)) this.ask(link, result);
    }
  }

  /** The old connection broke off before the new one had answered for all. */
  takenOver(link: Link): void {
    for (const result of this.list) {
      if (link.isReady && !link.asked.has(result)) continue;
      result.advance("lost");
      result.advance("attempt");
    }
  }

  /** A copy, so that a listener may add or remove some. */
  get list(): LiveResult[] {
    return [...this.results.values()];
  }

  /** Something is wrong for all of them; another attempt follows. */
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

  /** Whether a connection delivers for the subscription of this id. */
  isServed(id: string | undefined, link: Link | undefined): boolean {
    const result = id === undefined ? undefined : this.results.get(id);
    return result !== undefined && link?.serves.has(result) === true;
  }

  /** @param others Connections that delivered for it before, and have nothing more to say. */
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
    // Resumed on the connection that already delivers this view: nothing has to be attached again.
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
    // Asked twice, because an answer was given up too early: the first one stands.
    if (message.code === "duplicate-id") return;
    const isAnswer = link.asked.delete(result);
    if (isAnswer) result.view.resumeFailed();
    const error = toError(message);
    if (!isAnswer) {
      // Whether it goes on is for the message to say that follows.
      result.note(error);
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
    const text = `the service ended it: ${reason}`;
    this.#end(result, result.state.error ?? new TidewireError(ENDED[reason], text, { reason }));
    link.prune();
  }

  /** A connection has ended before it had answered all. */
  lost(link: Link, others: readonly Link[]): void {
    for (const result of link.asked) {
      if (!others.some((other) => other.asked.has(result))) result.view.resumeFailed();
    }
    link.asked.clear();
  }

  #end(result: LiveResult, error: TidewireError): void {
    this.results.delete(result.id);
    result.end();
    result.stop(error);
    this.#events.ended(result);
  }

  /** Lets the result show what the answer says. `false` where the answer makes no sense. */
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
          // Another query has followed this view until now, so this one's listeners know nothing of it.
          const { cursor, list } = present;
          if (cursor !== undefined) result.changed({ type: "snapshot", docs: list });
        }
        return true;
    }
  }
}
