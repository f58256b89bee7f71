/**
 * A filter as a tree of our own: what a client or a rule wrote is parsed into this, and everything that
 * follows (matching, hidden fields, identity, the server's `find`) is made from this alone.
 */
import type { BsonValue } from "./bson-value.ts";

/** A slot that a claim will fill. */
export interface Placeholder {
  /** As it was written, `%%user.sub`. */
  readonly placeholder: string;
}

/** Operators with one operand. */
export type ComparisonOperator = "$eq" | "$ne" | "$gt" | "$gte" | "$lt" | "$lte";
/** Operators with a list of operands. */
export type ListOperator = "$in" | "$nin" | "$all";
/** Operators with a list of filters. */
export type LogicalOperator = "$and" | "$or" | "$nor";

/** A condition on one path. `V` is an operand, `L` a list of operands. */
type PredicateOf<V, L> =
  | { readonly op: ComparisonOperator; readonly value: V }
  | { readonly op: ListOperator; readonly values: L }
  | { readonly op: "$exists"; readonly exists: boolean }
  /** BSON type bytes, as in `BSON_TYPE`; the alias `number` is expanded to its four types. */
  | { readonly op: "$type"; readonly types: readonly number[] }
  | { readonly op: "$size"; readonly size: number }
  | { readonly op: "$mod"; readonly divisor: bigint; readonly remainder: bigint }
  | { readonly op: "$regex"; readonly pattern: string; readonly options: string }
  /** Not all of these. */
  | { readonly op: "$not"; readonly predicates: readonly PredicateOf<V, L>[] }
  /** Some element, taken as a document, matches the filter. */
  | { readonly op: "$elemMatch"; readonly filter: FilterOf<V, L> }
  /** Some element itself fulfils all of these. */
  | { readonly op: "$elemMatchValue"; readonly predicates: readonly PredicateOf<V, L>[] };

/** A filter over operands `V` and lists of operands `L`. */
export type FilterOf<V, L> =
  | {
      readonly op: LogicalOperator;
      /** `$and` of nothing matches everything; the other two are never empty. */
      readonly filters: readonly FilterOf<V, L>[];
      /** The keys of one object rather than a written `$and`: this adds no level. */
      readonly implicit?: true;
    }
  | { readonly op: "path"; readonly path: string; readonly predicate: PredicateOf<V, L> };

/** A filter that can be evaluated. */
export type Filter = FilterOf<BsonValue, readonly BsonValue[]>;
/** A condition on one path that can be evaluated. */
export type Predicate = PredicateOf<BsonValue, readonly BsonValue[]>;

/** A value, or the claim that will replace it. */
export type Operand = BsonValue | Placeholder;
/** Values or claims, or one claim that will be a list. */
export type OperandList = readonly Operand[] | Placeholder;
/** A filter with slots for claims. Every `Filter` is one, without any. */
export type FilterTemplate = FilterOf<Operand, OperandList>;
/** A condition on one path in which claims may occur. */
export type PredicateTemplate = PredicateOf<Operand, OperandList>;

/** The size of a filter, which limits bound. */
export interface FilterCost {
  /** How many of `$and $or $nor $not $elemMatch` lie in one another, at most. */
  readonly depth: number;
  /** Operators on paths. A branch or `$elemMatch` without any counts as one. */
  readonly predicates: number;
  /** Scalars in operands; an empty array or object counts as one. */
  readonly values: number;
}
