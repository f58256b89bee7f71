import type { OnDocuments, OpenSnapshot, SnapshotReader } from "../../../src/feed/snapshot-reader.ts";
import type { SnapshotQuery } from "../../../src/source/snapshot-cursor.ts";
import type { SnapshotPlan } from "../../../src/source/snapshot-plan.ts";
import { docOf } from "./feed-parts.ts";

interface Read {
  readonly how: "open" | "openAt" | "readAt";
  readonly query: SnapshotQuery;
  readonly at: bigint;
  readonly signal?: AbortSignal | undefined;
}

/** Answers reads as the test says, and remembers them. It knows nothing of filters, sorts and limits. */
export class ScriptedReader implements SnapshotReader {
  readonly reads: Read[] = [];
  /** The documents of the next reads; each in a batch of its own. */
  answer: (read: Read) => Promise<readonly object[]> | readonly object[] = () => [];
  /** Opened reads that have not been closed or read to their end. */
  openReads = 0;

  open(query: SnapshotQuery, after: bigint, signal?: AbortSignal): Promise<OpenSnapshot> {
    return this.#open({ how: "open", query, at: after, signal });
  }

  openAt(query: SnapshotQuery, clusterTime: bigint): Promise<OpenSnapshot> {
    return this.#open({ how: "openAt", query, at: clusterTime });
  }

  async #open(read: Read): Promise<OpenSnapshot> {
    const documents = await this.#answer(read);
    this.openReads++;
    let at = 0;
    const end = () => {
      if (!snapshot.exhausted) this.openReads--;
      snapshot.exhausted = true;
    };
    const snapshot = {
      clusterTime: read.at,
      exact: true,
      exhausted: false,
      next: async () => {
        const batch = snapshot.exhausted ? [] : documents.slice(at, at + 1);
        at++;
        if (at >= documents.length) end();
        return batch;
      },
      count: async () => documents.length,
      close: end,
    };
    return snapshot;
  }

  async readAt(
    query: SnapshotQuery,
    clusterTime: bigint,
    onDocuments: OnDocuments = () => {},
  ): Promise<Uint8Array[]> {
    const documents = await this.#answer({ how: "readAt", query, at: clusterTime });
    for (const document of documents) onDocuments([document]);
    return documents;
  }

  async plan(): Promise<SnapshotPlan> {
    return { indexes: [], readsEverything: false, sortsInMemory: false, usesPartialIndex: false };
  }

  async #answer(read: Read): Promise<Uint8Array[]> {
    this.reads.push(read);
    return (await this.answer(read)).map(docOf);
  }
}
