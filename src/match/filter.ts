/**
 * A filter as a tree of our own. The filter of a client or a rule is parsed into this, and everything else (matching,
 * hidden fields, identity, the server's `find`) uses only the tree. So the parser is the one place that decides what a
 * filter means.
 */
import type { BsonValue } from "./bson-value.ts";

/** A slot for a claim. */
export interface Placeholder {
  /** In its notation, for example `%%user.sub`. */
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
  /** `from`: the placeholder that the whole list has replaced. */
  | { readonly op: ListOperator; readonly values: L; readonly from?: Placeholder }
  | { readonly op: "$exists"; readonly exists: boolean }
  /** BSON type bytes, as in `BSON_TYPE`. The alias `number` is expanded to its four types. */
  | { readonly op: "$type"; readonly types: readonly number[] }
  | { readonly op: "$size"; readonly size: number }
  | { readonly op: "$mod"; readonly divisor: bigint; readonly remainder: bigint }
  | { readonly op: "$regex"; readonly pattern: string; readonly options: string }
  /** Not all of these hold. */
  | { readonly op: "$not"; readonly predicates: readonly PredicateOf<V, L>[] }
  /** Some element, as a document, matches the filter. */
  | { readonly op: "$elemMatch"; readonly filter: FilterOf<V, L> }
  /** Some element itself satisfies all of these. */
  | { readonly op: "$elemMatchValue"; readonly predicates: readonly PredicateOf<V, L>[] };

/** A filter over operands `V` and lists of operands `L`. */
export type FilterOf<V, L> =
  | {
      readonly op: LogicalOperator;
      /** `$and` of no filters matches everything. The other two are never empty. */
      readonly filters: readonly FilterOf<V, L>[];
      /** Whether this was made from the keys of one object instead of a written `$and`, and so adds no level. */
      readonly implicit?: true;
    }
  | { readonly op: "path"; readonly path: string; readonly predicate: PredicateOf<V, L> };

/** A filter that can be evaluated. */
export type Filter = FilterOf<BsonValue, readonly BsonValue[]>;
/** A condition on one path that can be evaluated. */
export type Predicate = PredicateOf<BsonValue, readonly BsonValue[]>;

/** A value, or the claim that will replace it. */
export type Operand = BsonValue | Placeholder;
/** Values or claims, or one claim that is a list. */
export type OperandList = readonly Operand[] | Placeholder;
/** A filter with slots for claims. Every `Filter` is one without slots. */
export type FilterTemplate = FilterOf<Operand, OperandList>;
/** A condition on one path in which claims may occur. */
export type PredicateTemplate = PredicateOf<Operand, OperandList>;

/** The size of a filter, to which limits apply. */
export interface FilterCost {
  /** The maximum nesting of `$and $or $nor $not $elemMatch`. */
  readonly depth: number;
  /** The number of operators on paths. A branch or `$elemMatch` without any counts as one. */
  readonly predicates: number;
  /** The number of scalars in operands. An empty array or object counts as one. */
  readonly values: number;
}
