import { AFTER, coversForClients, epochOf, isLater, type Told } from "../../feed/cursor.ts";
import type { Feed } from "../../feed/feed.ts";

/** An attachment, as far as it matters here. */
interface Sender {
  /** The position up to which the client knows the live query. */
  readonly sent: Told | null;
}

type Sent = Iterable<Sender>;

/** Up to where one client knows of what was delivered to it: by the told head, or by what it was sent itself. */
export class ToldCursor {
  readonly #feed: Feed;
  #last: Told | undefined;

  constructor(feed: Feed) {
    this.#feed = feed;
  }

  /**
   * The told head, or a later position that the client knows already; for when nothing is missing on the attachments. It
   * never goes back, also where the subscription is gone that it came from.
   */
  next(attachments: Sent): string {
    const known = [...attachments].flatMap(({ sent }) => sent ?? []);
    this.#last = this.#latest(known);
    return this.#last.cursor;
  }

  /** As `next`, for one attachment of which nothing is missing. */
  of({ sent }: Sender): string {
    return this.#latest(sent === null ? [] : [sent]).cursor;
  }

  /** Whether the client was sent a change that lets it know of everything up to a cluster time. */
  covers(attachments: Sent, clusterTime: bigint): boolean {
    for (const { sent } of attachments) {
      if (sent !== null && coversForClients(sent.position, clusterTime)) return true;
    }
    return false;
  }

  #latest(known: readonly Told[]): Told {
    const last = this.#last;
    // After a break in the order of changes, an earlier cursor means nothing.
    const isGood = last !== undefined && epochOf(last.cursor) === this.#feed.timeline.codec.epoch;
    const all = [this.#feed.cursors.told, ...known, ...(isGood ? [last] : [])];
    const isHidden = ({ position }: Told) => position.issuedMs !== undefined;
    const hidden = this.#latestHidden(all.filter(isHidden));
    const shown = this.#latestShown(all.filter((told) => !isHidden(told)));
    if (hidden === undefined) return shown ?? this.#feed.cursors.told;
    return shown !== undefined && isLater(shown.position, hidden.position) ? shown : hidden;
  }

  /** By the time at which they were issued: clients must not learn about the writes in between. */
  #latestHidden(hidden: readonly Told[]): Told | undefined {
    const [first, ...others] = hidden.toSorted((a, b) => issuedMs(b) - issuedMs(a));
    // A snapshot may have been ahead of the stream. By now the stream has reached it.
    const time = first?.position.clusterTime ?? 0n;
    const goesBack = others.some(({ position }) => position.clusterTime > time);
    return goesBack ? this.#feed.cursors.renewTold() : first;
  }

  #latestShown(shown: readonly Told[]): Told | undefined {
    return shown.reduce<Told | undefined>((latest, told) => {
      if (latest === undefined || isLater(told.position, latest.position)) return told;
      if (told.cursor === latest.cursor || isLater(latest.position, told.position)) return latest;
      // Two commits of one time, whose order is unknown: all of that time has come.
      const position = { clusterTime: latest.position.clusterTime, within: AFTER };
      return { position, cursor: this.#feed.timeline.codec.encode(position) };
    }, undefined);
  }
}

const issuedMs = ({ position }: Told): number => position.issuedMs ?? 0;
