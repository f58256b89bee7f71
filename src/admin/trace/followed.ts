import type { LiveQuery } from "../../feed/live-query.ts";
import type { TracedAttachment } from "../../gateway/client-trace.ts";
import type { RecordedSend } from "./recorded.ts";

/** How many subscribers of one trace are watched. The others receive the same changes, and are only counted. */
const WATCHED_MAX = 500;
/** How many of one live query are watched, if the subject is not a user. */
const OF_LIVE_QUERY_MAX = 5;

/** A subscriber whose deliveries are observed. */
export interface Watched {
  readonly attachment: TracedAttachment;
  /** The id of its connection, as admins see it. */
  readonly connection: string;
  readonly sub: string | null;
  /** Changes that were matched and not sent yet, in their order. */
  readonly pending: Set<RecordedSend>;
}

/** The subscribers that a trace observes, by the live query that they follow. */
export class Followed {
  readonly #byAttachment = new Map<object, Watched>();
  readonly #byLiveQuery = new Map<LiveQuery, Set<Watched>>();
  readonly #ofLiveQueryMax: number;

  /** @param isOfUser Whether the subject is a user, all of whose subscriptions are watched. */
  constructor(isOfUser: boolean) {
    this.#ofLiveQueryMax = isOfUser ? WATCHED_MAX : OF_LIVE_QUERY_MAX;
  }

  get liveQueries(): Iterable<LiveQuery> {
    return this.#byLiveQuery.keys();
  }

  /** The subscriber behind an attachment, if it is watched. */
  by(attachment: object): Watched | undefined {
    return this.#byAttachment.get(attachment);
  }

  watch(attachment: TracedAttachment, who: Pick<Watched, "connection" | "sub">): void {
    if (this.#byAttachment.has(attachment)) return;
    if (this.#byAttachment.size >= WATCHED_MAX) this.#dropDetached();
    if (this.#byAttachment.size >= WATCHED_MAX) return;
    const { liveQuery } = attachment.delivery;
    const known = this.of(liveQuery);
    if (known.size >= this.#ofLiveQueryMax) return;
    const watched = { attachment, ...who, pending: new Set<RecordedSend>() };
    this.#byAttachment.set(attachment, watched);
    this.#byLiveQuery.set(liveQuery, known.add(watched));
  }

  /** The watched subscribers of a live query that have not left. */
  of(liveQuery: LiveQuery): Set<Watched> {
    const all = this.#byLiveQuery.get(liveQuery);
    if (all === undefined) return new Set();
    for (const watched of all) if (watched.attachment.isDetached) this.#forget(watched);
    return all;
  }

  #dropDetached(): void {
    for (const watched of this.#byAttachment.values())
      if (watched.attachment.isDetached) this.#forget(watched);
  }

  #forget(watched: Watched): void {
    const { liveQuery } = watched.attachment.delivery;
    this.#byAttachment.delete(watched.attachment);
    const rest = this.#byLiveQuery.get(liveQuery);
    rest?.delete(watched);
    if (rest?.size === 0) this.#byLiveQuery.delete(liveQuery);
  }

  clear(): void {
    this.#byAttachment.clear();
    this.#byLiveQuery.clear();
  }
}
