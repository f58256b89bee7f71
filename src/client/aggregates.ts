// Functions that name the values of a group, and the types of its rows.
import type { BsonValue, Path, ProjectField, ValueAt } from "./types.ts";

/** The number of documents in a group. */
export interface Count {
  readonly count: true;
}
/** The sum of the numbers at a path, 0 if there are none. */
export interface Sum<P extends string> {
  readonly sum: P;
}
/** The average of the numbers at a path, `null` if there are none. */
export interface Avg<P extends string> {
  readonly avg: P;
}
/** The least value at a path, `null` if there is none. */
export interface Min<P extends string> {
  readonly min: P;
}
/** The greatest value at a path, `null` if there is none. */
export interface Max<P extends string> {
  readonly max: P;
}

/** Counts the documents of a group. */
export const count = (): Count => ({ count: true });
/** Adds the numbers at a path. */
export const sum = <const P extends string>(path: P): Sum<P> => ({ sum: path });
/** The average of the numbers at a path. */
export const avg = <const P extends string>(path: P): Avg<P> => ({ avg: path });
/** The least value at a path. */
export const min = <const P extends string>(path: P): Min<P> => ({ min: path });
/** The greatest value at a path. */
export const max = <const P extends string>(path: P): Max<P> => ({ max: path });

/** The values of the groups of documents of type `T`, by their names. */
export type GroupValues<T> = Readonly<
  Record<string, Count | Sum<Path<T>> | Avg<Path<T>> | Min<Path<T>> | Max<Path<T>>>
>;

/** A number as a row has it. Of Decimal128 it is a value of that type, or its text. */
type Summed<V> = V extends number ? number : V extends BsonValue ? V : number;

type ValueOf<T, V> = V extends Count
  ? number
  : V extends Sum<infer P>
    ? Summed<NonNullable<ValueAt<T, P>>>
    : V extends Avg<infer P>
      ? Summed<NonNullable<ValueAt<T, P>>> | null
      : V extends Min<infer P> | Max<infer P>
        ? NonNullable<ValueAt<T, P>> | null
        : never;

/** The row of a group: its `_id` and its values. */
export type Row<T, Id, V> = { readonly _id: Id } & { readonly [K in keyof V]: ValueOf<T, V[K]> };

type HeadOf<P extends string> = P extends `${infer Head}.${string}` ? Head : P;

/**
 * The `_id` of a group: null of all documents, the value of the only path, or an object of several paths. A document without the path is in the
 * group of `null`; in an object the path is missing then.
 */
export type GroupId<T, P extends readonly string[]> = P extends readonly []
  ? null
  : P extends readonly [infer Only extends string]
    ? ValueAt<T, Only> | null
    : {
        readonly [K in keyof T as K extends HeadOf<P[number]> ? K : never]?: ProjectField<T[K], P[number], K>;
      };
