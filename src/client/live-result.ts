/**
 * The result of one request, between the service and the application. Several components of a page may follow equal
 * queries, so the result is shared, and its listeners are independent of one another.
 */
import type { TidewireError } from "../protocol/errors.ts";
import type { SubscribeMessage } from "../protocol/messages.ts";
import type { Saved } from "./persistence.ts";
import type { Doc } from "./result-set.ts";
import { type Status, type StatusEvent, TRANSITIONS } from "./status.ts";
import type { Change, Observer, QueryState } from "./types.ts";
import type { ValueCodec } from "./value-codec.ts";
import { View, type Watcher } from "./view.ts";

/** A request to the service. Equal requests share a result. */
export type LiveRequest = Omit<SubscribeMessage, "type" | "id" | "cursor" | "ticket">;

/** The state of a query before it is followed. */
export const UNUSED: QueryState<never> = Object.freeze({
  data: Object.freeze([]),
  status: "connecting",
  error: undefined,
});

/**
 * Gives the documents that are shown in place of those of the service. It returns the same array for the same documents as long as it
 * would show the same.
 */
export type Overlay = (docs: readonly Doc[]) => readonly Doc[];

/** An observer with two more events. */
export interface Listener extends Observer<Doc> {
  /** Receives every new state. */
  readonly state?: (state: QueryState<Doc>) => void;
  /** Receives the end, with the error unless the application closed the client. It receives no other errors. */
  readonly stopped?: (error: TidewireError | undefined) => void;
}

/** Events of results, for the client. */
export interface LiveResultEvents {
  /** The last listener has left. */
  abandoned(result: LiveResult): void;
  /** Documents, cursor or ticket have changed. */
  moved(result: LiveResult): void;
  /** A listener has received the error. Or none has, and the developer should hear of it. */
  failed(result: LiveResult, error: TidewireError, isHeard: boolean): void;
}

/**
 * The longest pause between two reports of changes, in milliseconds. The pause depends on the cost of the last report.
 */
const FLUSH_PAUSE_MAX_MS = 100;

/** The result of one request, shared by all its listeners: its documents, its status, and its listeners. */
export class LiveResult implements Watcher {
  readonly id: string;
  readonly key: string;
  readonly request: LiveRequest;
  /** The documents that it shows. Requests with the same live query share one view. Replaced by `show`. */
  view: View;
  /**
   * Written by the session and its subscriptions: whether the kept copy was read, because a request before that would fetch
   * everything again, and the consecutive refusals.
   */
  readonly asking = { isReady: false, refusals: 0 };
  /** The error that concerns this query alone. It says why the service ends the query, if the service does. */
  ownError: TidewireError | undefined;
  #ticket: string | undefined;
  readonly #events: LiveResultEvents;
  readonly #codec: ValueCodec | undefined;
  readonly #listeners = new Set<Listener>();
  #status: Status = "connecting";
  #error: TidewireError | undefined;
  #state: QueryState<Doc>;
  /** The documents that are shown until there is a result. */
  #initial: readonly Doc[];
  #hasResult = false;
  #overlay: Overlay | undefined;
  #reported: QueryState<Doc>;
  #flushTimer: ReturnType<typeof setTimeout> | undefined;
  /** How long the last report took, in milliseconds. */
  #flushMs = 0;

  /** @param initial Its documents are shown until there is a result. */
  constructor(
    id: string,
    key: string,
    request: LiveRequest,
    initial: QueryState<Doc>,
    events: LiveResultEvents,
    codec?: ValueCodec,
  ) {
    this.id = id;
    this.key = key;
    this.request = request;
    this.#events = events;
    this.#codec = codec;
    this.#state = initial;
    this.#reported = initial;
    this.#initial = initial.data;
    this.view = new View(request.sort !== undefined, request.snapshot !== false);
    this.view.watchers.add(this);
  }

  get isUsed(): boolean {
    return this.#listeners.size > 0;
  }

  get state(): QueryState<Doc> {
    const docs = this.#hasResult ? this.#docs : this.#initial;
    const data = this.#overlay?.(docs) ?? docs;
    const { data: before, status, error } = this.#state;
    if (data !== before || status !== this.#status || error !== this.#error) {
      this.#state = Object.freeze({ data, status: this.#status, error: this.#error });
    }
    return this.#state;
  }

  /** The documents of the service, in the form of the application. */
  get #docs(): readonly Doc[] {
    const { list } = this.view;
    return this.#codec?.list(list) ?? list;
  }

  /** The cursor and the ticket with which to resume. */
  get resumePoint(): { cursor: string; ticket: string } | undefined {
    const { cursor } = this.view;
    const ticket = this.#ticket;
    return cursor && ticket ? { cursor, ticket } : undefined;
  }

  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    if (this.#hasResult) {
      call(listener.change, { type: "snapshot", docs: this.#docs });
      call(listener.data, this.state.data);
    }
    call(listener.status, this.#status);
    if (this.#status === "stopped") {
      call(listener.stopped, this.#error);
      if (this.#error) this.#reportError(this.#error, [listener]);
    }
    return () => {
      if (this.#listeners.delete(listener) && !this.isUsed) this.#events.abandoned(this);
    };
  }

  /** Takes the documents that were kept from an earlier page load, unless the user may no longer see them. */
  restore({ docs, cursor, ticket }: Saved): void {
    if (this.#status === "stopped" && this.#error?.code === "forbidden") return;
    this.view.restore(docs, cursor);
    this.#ticket = ticket;
    this.changed({ type: "snapshot", docs: this.view.list });
  }

  /**
   * Shows the documents as `overlay` returns them, from now on, and reports that at once. Observers of changes, and the
   * kept copy, see what the service has sent.
   */
  lay(overlay: Overlay | undefined): void {
    this.#overlay = overlay;
    this.#flush();
  }

  /** Shows this view from now on. */
  show(view: View): void {
    if (this.view === view) return;
    this.view.watchers.delete(this);
    view.watchers.add(this);
    this.view = view;
  }

  changed(change: Change<Doc>): void {
    this.#hasResult = true;
    this.#initial = UNUSED.data;
    const seen = this.#codec?.change(change) ?? change;
    // Iterates over a copy of the listeners, here and below, because a listener may remove itself or add another one.
    for (const { change: notify } of [...this.#listeners]) call(notify, seen);
    // A report copies the result, and a page may redraw all of it. The pause leaves half of the time for arriving
    // messages.
    this.#flushTimer ??= setTimeout(() => this.#flush(), Math.min(this.#flushMs, FLUSH_PAUSE_MAX_MS));
  }

  advance(event: StatusEvent): void {
    const status = TRANSITIONS[this.#status][event];
    const isNew = status !== this.#status;
    this.#status = status;
    if (status === "live" || event === "restart") this.#error = this.ownError = undefined;
    this.#flush();
    if (!isNew) return;
    for (const { status: notify } of [...this.#listeners]) {
      // A listener may have stopped the query. Its end was reported to all listeners, and is the last report.
      if (this.#status !== status) return;
      call(notify, status);
    }
  }

  /** The service has accepted the subscription, or has sent a newer ticket. */
  renewed(ticket: string): void {
    this.asking.refusals = 0;
    this.#ticket = ticket;
    this.#events.moved(this);
  }

  moved(): void {
    this.#events.moved(this);
  }

  /**
   * Reports an error after which the client tries again by itself.
   * @param isOwn Whether it concerns this query alone.
   */
  note(error: TidewireError, isOwn = false): void {
    this.#error = error;
    this.ownError = isOwn ? error : undefined;
    this.#flush();
    this.#reportError(error);
  }

  /**
   * The query has ended permanently. Documents that the user may no longer see are removed.
   * @param error Omitted if the application closed the client.
   */
  stop(error?: TidewireError): void {
    this.#error = error;
    // The documents themselves decide, because an optimistic change may hide all of them.
    if (error?.code === "forbidden" && (this.view.list.length > 0 || this.#initial.length > 0)) {
      this.show(new View(false, false));
      this.changed({ type: "snapshot", docs: this.view.list });
    }
    this.advance("stop");
    const listeners = [...this.#listeners];
    for (const { stopped: notify } of listeners) call(notify, error);
    if (error) this.#reportError(error, listeners);
  }

  end(): void {
    clearTimeout(this.#flushTimer);
    this.view.watchers.delete(this);
  }

  /** Passes an error to the observers of errors, or to the client's logger if there are none. */
  #reportError(error: TidewireError, listeners: readonly Listener[] = [...this.#listeners]): void {
    const isStop = this.#status === "stopped";
    const isHeard = listeners.some((listener) => listener.error ?? (isStop && listener.stopped));
    for (const { error: notify } of listeners) call(notify, error);
    if (listeners.length > 0) this.#events.failed(this, error, isHeard);
  }

  /** Reports changes that arrived together at once, and never a status before its data. */
  #flush(): void {
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    const startedMs = Date.now();
    const { state } = this;
    const reported = this.#reported;
    this.#reported = state;
    if (state === reported) return;
    for (const listener of [...this.#listeners]) {
      // A listener may have caused a newer state, which was reported to all listeners already.
      if (this.#reported !== state) return;
      if (state.data !== reported.data) call(listener.data, state.data);
      call(listener.state, state);
    }
    this.#flushMs = Date.now() - startedMs;
  }
}

/** An error of a listener is reported like any uncaught error. It must not keep other listeners from being called. */
function call<T>(listener: ((value: T) => void) | undefined, value: T): void {
  try {
    listener?.(value);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
