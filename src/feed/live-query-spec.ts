/**
 * The identity of a live query. Authorization has already combined the client's filter with the rule, so two clients
 * share a live query only if they have the same rights to it.
 */
import type { Aggregate } from "../match/aggregate.ts";
import type { Filter } from "../match/filter.ts";
import type { Projection } from "../match/projection-fields.ts";
import type { DocumentMode, SortSpec } from "../protocol/messages.ts";

/**
 * The definition of a live query. Equal keys mean the same live query. Authorization makes it, with the rule already
 * included.
 */
export interface LiveQuerySpec {
  /** Canonical identity of all other fields. */
  readonly key: string;
  readonly database: string;
  readonly collectionName: string;
  readonly filter: Filter;
  readonly projection: Projection;
  readonly sort: SortSpec | null;
  readonly limit: number | null;
  readonly documents: DocumentMode;
  /** The groups that are delivered in place of documents; `null` for documents. */
  readonly aggregate: Aggregate | null;
  /** A snapshot is only read if an index serves it. */
  readonly requireIndex: boolean;
}
