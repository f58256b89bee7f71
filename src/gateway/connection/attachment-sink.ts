/**
 * Connects a delivery to the outbox of its client. It is the last check before bytes leave: while rights are undecided,
 * it refuses everything.
 */
import type { Chunk } from "../../feed/chunk.ts";
import type { LookupSet } from "../../feed/lookup-set.ts";
import type { SharedCompression } from "../../feed/shared-compression.ts";
import type { Sink } from "../../feed/sink.ts";
import { noteFault } from "../../metrics/guard.ts";
import type { ValueMode } from "../../protocol/messages.ts";
import type { AttachmentOwner, Ids } from "./attachment-owner.ts";
import type { AttachmentStart } from "./attachment-start.ts";

/** The parts of an attachment that its delivery uses. */
interface SinkTarget {
  readonly connection: AttachmentOwner;
  readonly number: number;
  readonly ids: Ids;
  readonly start: AttachmentStart;
  /** Settles when no rights are undecided; `null` while none are. */
  readonly deciding: Promise<void> | null;
  reset(reason: "history-lost" | "lagged"): void;
}

/** Writes one live query to the outbox of its connection. While rights are undecided, it takes nothing. */
export class AttachmentSink implements Sink {
  readonly attachment: SinkTarget;

  constructor(attachment: SinkTarget) {
    this.attachment = attachment;
  }

  get mode(): ValueMode {
    return this.attachment.connection.login.values;
  }

  /** The lookups on which the rights of its subscriptions depend. Equal live queries may follow from different lookups. */
  get sets(): readonly LookupSet[] {
    const { connection } = this.attachment;
    return [
      ...new Set(connection.subscriptions.servedBy(this.attachment).flatMap(({ lookups }) => lookups.sets)),
    ];
  }

  get compression(): SharedCompression | null {
    return this.attachment.connection.outbox.compression;
  }

  /**
   * Takes a chunk. It does not throw, because the feed serves all clients in one loop, which an error of this client
   * must not end.
   */
  write(chunk: Chunk): boolean {
    const { connection, number, start, deciding } = this.attachment;
    // Refused and not lost: the delivery continues from here once the rights are decided.
    if (deciding !== null) return false;
    try {
      const isWritten = connection.outbox.write(chunk.numbered(number));
      if (isWritten) start.noteSent(chunk.cursor);
      connection.context.trace?.offered(this.attachment, chunk, isWritten);
      return isWritten;
    } catch (error) {
      this.#fail("delivery.write", error);
      return true;
    }
  }

  noteUnchanged(cursor: string): void {
    this.attachment.start.noteSent(cursor);
  }

  async room(size: number): Promise<boolean> {
    while (this.attachment.deciding !== null) await this.attachment.deciding;
    return this.attachment.connection.outbox.room(size);
  }

  async mayRead(clusterTime: bigint): Promise<boolean> {
    const { context, identity } = this.attachment.connection;
    const { rulesAhead, trust } = context;
    if (rulesAhead !== null && !(await rulesAhead.areSameAt(clusterTime))) return false;
    return trust.mayRead(identity, clusterTime);
  }

  snapshotTurn(): Promise<() => void> {
    return this.attachment.connection.subscriptions.snapshotTurn();
  }

  reset(reason: "history-lost" | "lagged"): void {
    this.attachment.reset(reason);
  }

  failed(error: unknown): void {
    try {
      this.attachment.connection.attachmentFailed(this.attachment, error);
    } catch (second) {
      this.#fail("delivery.failed", second);
    }
  }

  becameLive(afterCatchUp: boolean): void {
    try {
      this.attachment.connection.progress.becameLive(afterCatchUp);
    } catch (error) {
      this.#fail("delivery.live", error);
    }
  }

  #fail(where: string, error: unknown): void {
    const { connection } = this.attachment;
    connection.fail(noteFault(connection.context, where, error));
  }
}
