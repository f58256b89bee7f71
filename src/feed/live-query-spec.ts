import type { Filter } from "../match/filter.ts";
import type { Projection } from "../match/projection-fields.ts";
import type { DocumentMode, SortSpec } from "../protocol/messages.ts";

/** The definition of a live query: equal keys, one live query. Made by authorization; the rule is already in it. */
export interface LiveQuerySpec {
  /** Canonical identity of everything below. */
  readonly key: string;
  readonly database: string;
  readonly collectionName: string;
  readonly filter: Filter;
  readonly projection: Projection;
  readonly sort: SortSpec | null;
  readonly limit: number | null;
  readonly documents: DocumentMode;
  /** A snapshot is only read where an index serves it. */
  readonly requireIndex: boolean;
}
