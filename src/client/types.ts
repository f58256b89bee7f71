import type { TidewireError } from "../protocol/errors.ts";
import type { Cause, StartReason } from "../protocol/messages.ts";
import type { Status } from "./status.ts";

/**
 * A value of the BSON library (ObjectId, Decimal128, Long, …), recognized by its mark, so that the client does not need
 * the library.
 */
export interface BsonValue {
  readonly _bsontype: string;
}

/** A value in MongoDB Extended JSON, such as `{ $oid: "…" }`. */
export type EjsonValue =
  | { readonly $oid: string }
  | { readonly $date: string | { readonly $numberLong: string } }
  | { readonly $numberDecimal: string }
  | { readonly $numberLong: string }
  | { readonly $numberInt: string }
  | { readonly $numberDouble: string }
  | { readonly $uuid: string }
  | { readonly $binary: { readonly base64: string; readonly subType: string } };

type Scalar = string | number | boolean | bigint | null | undefined | Date | RegExp | Uint8Array | BsonValue;

type Depth = readonly 0[];

/**
 * The dotted paths of a document, down to five levels. Paths into the items of an array have no index, as in MongoDB.
 * An open document type (`Record<string, unknown>`) allows any path.
 */
export type Path<T, D extends Depth = []> = D["length"] extends 5
  ? never
  : T extends Scalar
    ? never
    : T extends readonly (infer Item)[]
      ? Path<Item, [...D, 0]>
      : string extends keyof T
        ? string
        : {
            [K in keyof T & string]-?: K | `${K}.${Path<T[K], [...D, 0]>}`;
          }[keyof T & string];

/** The type at a dotted path. */
export type ValueAt<T, P extends string> = T extends readonly (infer Item)[]
  ? ValueAt<Item, P>
  : P extends keyof T
    ? T[P]
    : P extends `${infer Head}.${infer Rest}`
      ? Head extends keyof T
        ? ValueAt<NonNullable<T[Head]>, Rest>
        : unknown
      : unknown;

/**
 * The types that may represent a value in a filter. A string in a document may be an ObjectId or a date in the
 * database.
 */
type Operand<V> =
  | V
  | null
  | (V extends string ? BsonValue | Date | EjsonValue | RegExp : never)
  | (V extends number ? bigint | BsonValue | EjsonValue : never)
  | (V extends Date ? EjsonValue : never)
  | (V extends BsonValue ? EjsonValue | string : never);

type ItemOf<V> = V extends readonly (infer Item)[] ? Item : never;
type Operands<V> = Operand<NonNullable<V>> | Operand<ItemOf<NonNullable<V>>>;

/** The operators that a filter may contain (docs/protocol.md, section 4). */
export interface Operators<V> {
  readonly $eq?: Operands<V>;
  readonly $ne?: Operands<V>;
  readonly $gt?: Operands<V>;
  readonly $gte?: Operands<V>;
  readonly $lt?: Operands<V>;
  readonly $lte?: Operands<V>;
  readonly $in?: readonly Operands<V>[];
  readonly $nin?: readonly Operands<V>[];
  readonly $exists?: boolean;
  readonly $type?: string | number | readonly (string | number)[];
  readonly $size?: number;
  readonly $all?: readonly Operands<V>[];
  readonly $elemMatch?: ItemOf<NonNullable<V>> extends Scalar
    ? Operators<ItemOf<NonNullable<V>>>
    : Filter<ItemOf<NonNullable<V>>>;
  readonly $mod?: readonly [divisor: number, remainder: number];
  readonly $not?: Operators<V> | RegExp;
  /** A case-sensitive prefix: `^literal`. */
  readonly $regex?: string | RegExp;
}

/** A filter on documents of type `T`, as for `find`. */
export type Filter<T> = {
  readonly [P in Path<T>]?: Operands<ValueAt<T, P>> | Operators<ValueAt<T, P>>;
} & {
  readonly $and?: readonly Filter<T>[];
  readonly $or?: readonly Filter<T>[];
  readonly $nor?: readonly Filter<T>[];
};

type HeadOf<P extends string> = P extends `${infer Head}.${string}` ? Head : P;
type RestOf<P extends string, K> = P extends `${K & string}.${infer Rest}` ? Rest : never;

type ProjectInner<V, P extends string> = V extends Scalar
  ? V
  : V extends readonly (infer Item)[]
    ? ProjectInner<Item, P>[]
    : { [K in keyof V as K extends HeadOf<P> ? K : never]: ProjectField<V[K], P, K> };
/** A field of which some paths are kept. */
export type ProjectField<V, P extends string, K> = K extends P ? V : ProjectInner<V, RestOf<P, K>>;

/** A document reduced to some of its paths; `_id` is always included. */
export type Projected<T, P extends string> = string extends P
  ? T
  : string extends keyof T
    ? T
    : { [K in keyof T as K extends "_id" | HeadOf<P> ? K : never]: ProjectField<T[K], P | "_id", K> };

/** The `_id` of a document. */
export type IdOf<R> = R extends { readonly _id: infer Id } ? Id : unknown;

/** A change of a result. Applied in order, changes give the result at every point. */
export type Change<R> =
  /** The whole result: at the start, and (with a reason) when the earlier documents are void. */
  | {
      readonly type: "snapshot";
      readonly docs: readonly R[];
      readonly reason?: StartReason | "lagged" | undefined;
    }
  | {
      readonly type: "added";
      readonly doc: R;
      readonly cause: Cause;
      readonly cursor: string;
      /** In sorted queries: the `_id` of the document that now follows; `null` at the end. */
      readonly before?: IdOf<R> | null;
    }
  | {
      readonly type: "changed";
      readonly doc: R;
      /**
       * The document before the change; unknown to a query without a snapshot that receives the document for the first
       * time.
       */
      readonly previous: R | undefined;
      readonly cause: Cause;
      readonly cursor: string;
      readonly before?: IdOf<R> | null;
    }
  | {
      readonly type: "removed";
      readonly _id: IdOf<R>;
      /** The document before the removal; unknown to a query without a snapshot that never received it. */
      readonly doc: R | undefined;
      readonly cause: Cause;
      readonly cursor: string;
    };

/** The status and the result of a query. It is the same object as long as nothing changes. */
export interface QueryState<R> {
  /** The result. It is the same array, with the same objects, as long as they do not change. */
  readonly data: readonly R[];
  readonly status: Status;
  /** Why it is not live; set when the query stops, and while an attempt fails. */
  readonly error: TidewireError | undefined;
}

/** The listeners of a subscriber. */
export interface Observer<R> {
  /** The whole result, after every change. Changes that arrive together are reported together. */
  readonly data?: (data: readonly R[]) => void;
  /** Each change, at once, starting with a `snapshot`. */
  readonly change?: (change: Change<R>) => void;
  readonly status?: (status: Status) => void;
  readonly error?: (error: TidewireError) => void;
}
