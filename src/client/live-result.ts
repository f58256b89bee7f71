import type { TidewireError } from "../protocol/errors.ts";
import type { SubscribeMessage } from "../protocol/messages.ts";
import type { Saved } from "./persistence.ts";
import type { Doc } from "./result-set.ts";
import { type Status, type StatusEvent, TRANSITIONS } from "./status.ts";
import type { Change, Observer, QueryState } from "./types.ts";
import { View, type Watcher } from "./view.ts";

/** A request to the service. Equal requests share a result. */
export type LiveRequest = Omit<SubscribeMessage, "type" | "id" | "cursor" | "ticket">;

/** The state of a query before anybody follows it. */
export const UNUSED: QueryState<never> = Object.freeze({
  data: Object.freeze([]),
  status: "connecting",
  error: undefined,
});

/** An observer with two more events. */
export interface Listener extends Observer<Doc> {
  /** Receives every new state. */
  readonly state?: (state: QueryState<Doc>) => void;
  /** Receives the end, with the error unless the application closed the client. Other errors do not arrive here. */
  readonly stopped?: (error: TidewireError | undefined) => void;
}

/** Tells the client about a result. */
export interface LiveResultEvents {
  /** Nobody follows it any more. */
  abandoned(result: LiveResult): void;
  /** Documents, cursor or ticket are others now. */
  moved(result: LiveResult): void;
  /** An observer has received the error. */
  heard(error: TidewireError): void;
  /** No observer of the result receives the error. */
  unheard(error: TidewireError): void;
}

/** Two reports of changes are never further apart than this for the sake of what the first one cost, in milliseconds. */
const FLUSH_PAUSE_MAX_MS = 100;

/** One request's result, shared by all who follow it: what it holds, what it is at, and whom to tell. */
export class LiveResult implements Watcher {
  readonly id: string;
  readonly key: string;
  readonly request: LiveRequest;
  #view: View;
  #ticket: string | undefined;
  /** Subscriptions in a row that the service could not take. */
  #refusals = 0;
  readonly #events: LiveResultEvents;
  readonly #listeners = new Set<Listener>();
  #status: Status = "connecting";
  #error: TidewireError | undefined;
  #state: QueryState<Doc>;
  /** Shown until there is a result. */
  #initial: readonly Doc[];
  #hasResult = false;
  #told: QueryState<Doc>;
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
  ) {
    this.id = id;
    this.key = key;
    this.request = request;
    this.#events = events;
    this.#state = initial;
    this.#told = initial;
    this.#initial = initial.data;
    this.#view = new View(request.sort !== undefined, request.snapshot !== false);
    this.#view.watchers.add(this);
  }

  /** The documents that it shows; queries with the same live query share one. */
  get view(): View {
    return this.#view;
  }

  /** The service cannot take the subscription now. @returns How often in a row that was so before. */
  countRefusal(): number {
    return this.#refusals++;
  }

  get isUsed(): boolean {
    return this.#listeners.size > 0;
  }

  get state(): QueryState<Doc> {
    const data = this.#hasResult ? this.view.list : this.#initial;
    const { data: before, status, error } = this.#state;
    if (data !== before || status !== this.#status || error !== this.#error) {
      this.#state = Object.freeze({ data, status: this.#status, error: this.#error });
    }
    return this.#state;
  }

  /** The cursor and the ticket to resume with. */
  get resumePoint(): { cursor: string; ticket: string } | undefined {
    const { cursor } = this.view;
    const ticket = this.#ticket;
    return cursor === undefined || ticket === undefined ? undefined : { cursor, ticket };
  }

  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    if (this.#hasResult) call(listener.change, { type: "snapshot", docs: this.view.list });
    if (this.#hasResult) call(listener.data, this.view.list);
    call(listener.status, this.#status);
    if (this.#status === "stopped") {
      call(listener.stopped, this.#error);
      if (this.#error !== undefined) this.#tellError(this.#error, [listener]);
    }
    return () => {
      if (this.#listeners.delete(listener) && !this.isUsed) this.#events.abandoned(this);
    };
  }

  /** Takes what was kept from an earlier time. */
  restore({ docs, cursor, ticket }: Saved): void {
    this.view.restore(docs, cursor);
    this.#ticket = ticket;
    this.changed({ type: "snapshot", docs: this.view.list });
  }

  /** From now on it is this view that is shown. */
  show(view: View): void {
    const before = this.#view;
    if (before === view) return;
    before.watchers.delete(this);
    view.watchers.add(this);
    this.#view = view;
  }

  changed(change: Change<Doc>): void {
    this.#hasResult = true;
    this.#initial = UNUSED.data;
    // A copy of the listeners, here and below: one of them may remove itself or add another.
    for (const { change: tell } of [...this.#listeners]) call(tell, change);
    // A report copies the result, and a page may draw all of it: half of the time is left for what comes in meanwhile.
    this.#flushTimer ??= setTimeout(() => this.#flush(), Math.min(this.#flushMs, FLUSH_PAUSE_MAX_MS));
  }

  advance(event: StatusEvent): void {
    const status = TRANSITIONS[this.#status][event];
    const isNew = status !== this.#status;
    this.#status = status;
    if (status === "live" || event === "restart") this.#error = undefined;
    this.#flush();
    if (!isNew) return;
    for (const { status: tell } of [...this.#listeners]) {
      // A listener may have stopped the query: its end was reported to all, and is the last report.
      if (this.#status !== status) return;
      call(tell, status);
    }
  }

  /** The service has taken the subscription, or gives it a newer ticket. */
  renewed(ticket: string): void {
    this.#refusals = 0;
    this.#ticket = ticket;
    this.#events.moved(this);
  }

  moved(): void {
    this.#events.moved(this);
  }

  /** Something is wrong; another attempt comes by itself. */
  note(error: TidewireError): void {
    this.#error = error;
    this.#flush();
    this.#tellError(error);
  }

  /**
   * It has ended permanently. Documents that the user may no longer see disappear.
   * @param error Left out if the application closed the client.
   */
  stop(error?: TidewireError): void {
    this.#error = error;
    if (error?.code === "forbidden" && this.state.data.length > 0) {
      this.show(new View(false, false));
      this.changed({ type: "snapshot", docs: this.view.list });
    }
    this.advance("stop");
    const listeners = [...this.#listeners];
    for (const { stopped: tell } of listeners) call(tell, error);
    if (error !== undefined) this.#tellError(error, listeners);
  }

  end(): void {
    clearTimeout(this.#flushTimer);
    this.view.watchers.delete(this);
  }

  /** Without an observer of errors, the client's logger receives the error. */
  #tellError(error: TidewireError, listeners: readonly Listener[] = [...this.#listeners]): void {
    const isStop = this.#status === "stopped";
    const isHeard = listeners.some((listener) => listener.error ?? (isStop && listener.stopped));
    for (const { error: tell } of listeners) call(tell, error);
    if (isHeard) this.#events.heard(error);
    else if (listeners.length > 0) this.#events.unheard(error);
  }

  /** Reports changes that came together at once, and never a status before the data that it belongs to. */
  #flush(): void {
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    const startedMs = Date.now();
    const { state } = this;
    const told = this.#told;
    this.#told = state;
    if (state === told) return;
    for (const listener of [...this.#listeners]) {
      // A listener may have caused a newer state, which was reported to all already.
      if (this.#told !== state) return;
      if (state.data !== told.data) call(listener.data, state.data);
      call(listener.state, state);
    }
    this.#flushMs = Date.now() - startedMs;
  }
}

/** A listener that fails is reported as any uncaught error; it must not keep others from hearing. */
function call<T>(listener: ((value: T) => void) | undefined, value: T): void {
  try {
    listener?.(value);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
