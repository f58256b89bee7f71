/**
 * Computes the cursor up to which one client has everything. It combines the published head with the cursors that the
 * client was sent, and must neither go back nor reveal how much was written for other clients.
 */
import { AFTER, coversForClients, epochOf, isLater, type PublishedPosition } from "../../feed/cursor.ts";
import type { Feed } from "../../feed/feed.ts";

/** The part of an attachment that is read here. */
interface Sender {
  /** The position up to which the client knows the live query. */
  readonly sent: PublishedPosition | null;
}

type Sent = Iterable<Sender>;

/**
 * The position up to which one client has received everything: the published head, or a later change that it was sent.
 */
export class ClientPosition {
  readonly #feed: Feed;
  #last: PublishedPosition | undefined;

  constructor(feed: Feed) {
    this.#feed = feed;
  }

  /**
   * The published head, or a later position that the client already knows. Call it when nothing is pending on the
   * attachments. It never goes back, even if the subscription from which it originated has ended.
   */
  next(attachments: Sent): string {
    const known = [...attachments].flatMap(({ sent }) => sent ?? []);
    this.#last = this.#latest(known);
    return this.#last.cursor;
  }

  /** Like `next`, for one attachment that has delivered everything. */
  of({ sent }: Sender): string {
    return this.#latest(sent === null ? [] : [sent]).cursor;
  }

  /** Whether the client was sent a change from which it may know that it has everything up to a cluster time. */
  covers(attachments: Sent, clusterTime: bigint): boolean {
    for (const { sent } of attachments) {
      if (sent !== null && coversForClients(sent.position, clusterTime)) return true;
    }
    return false;
  }

  #latest(known: readonly PublishedPosition[]): PublishedPosition {
    const last = this.#last;
    // After a break in the order of commits, an earlier cursor means nothing.
    const isGood = last !== undefined && epochOf(last.cursor) === this.#feed.timeline.codec.epoch;
    const all = [this.#feed.cursors.published, ...known, ...(isGood ? [last] : [])];
    const isHidden = ({ position }: PublishedPosition) => position.issuedMs !== undefined;
    const hidden = this.#latestHidden(all.filter(isHidden));
    const shown = this.#latestShown(all.filter((published) => !isHidden(published)));
    if (hidden === undefined) return shown ?? this.#feed.cursors.published;
    return shown !== undefined && isLater(shown.position, hidden.position) ? shown : hidden;
  }

  /** Compares by the time of issue, because clients must not learn about the writes in between. */
  #latestHidden(hidden: readonly PublishedPosition[]): PublishedPosition | undefined {
    const [first, ...others] = hidden.toSorted((a, b) => issuedMs(b) - issuedMs(a));
    // A snapshot may have been ahead of the stream. By now the stream has reached it.
    const time = first?.position.clusterTime ?? 0n;
    const goesBack = others.some(({ position }) => position.clusterTime > time);
    return goesBack ? this.#feed.cursors.renewPublished() : first;
  }

  #latestShown(shown: readonly PublishedPosition[]): PublishedPosition | undefined {
    return shown.reduce<PublishedPosition | undefined>((latest, published) => {
      if (latest === undefined || isLater(published.position, latest.position)) return published;
      if (published.cursor === latest.cursor || isLater(latest.position, published.position)) return latest;
      // Two commits of one cluster time, whose order is unknown. All commits of that time have arrived.
      const position = { clusterTime: latest.position.clusterTime, within: AFTER };
      return { position, cursor: this.#feed.timeline.codec.encode(position) };
    }, undefined);
  }
}

const issuedMs = ({ position }: PublishedPosition): number => position.issuedMs ?? 0;
