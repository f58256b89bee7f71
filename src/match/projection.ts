export interface Projection {
  /** What happens to fields that are not listed. */
  readonly keepsRest: boolean;
  /** Listed fields: all of it, nothing of it, or parts. */
  readonly fields: ReadonlyMap<string, Projection | boolean>;
}
export declare const EVERYTHING: Projection;
/** @throws {TidewireError} `bad-request` */
export declare function includeProjection(paths: readonly string[]): Projection;
/** @throws {TidewireError} `bad-request` */
export declare function excludeProjection(paths: readonly string[]): Projection;
export declare function intersectProjections(a: Projection, b: Projection): Projection;
export declare function canonicalProjection(projection: Projection): string;
export declare function isHiddenPath(projection: Projection, path: string): boolean;
export declare function projectedEqual(
  projection: Projection,
  before: Uint8Array,
  after: Uint8Array,
): boolean;
