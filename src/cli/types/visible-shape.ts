/** Reduces the shape of documents to the fields that a rule shows. */
import { excludeProjection, includeProjection } from "../../match/projection.ts";
import type { Projection } from "../../match/projection-fields.ts";
import type { FieldsOptions } from "../../rules/options.ts";
import { type Field, type Shape, union } from "./shape.ts";

/** @param fields As a rule has them; `undefined` shows everything. */
export function visibleShape(shape: Shape, fields: FieldsOptions | undefined): Shape {
  if (fields === undefined) return shape;
  const projection =
    fields.include === undefined
      ? excludeProjection(fields.exclude ?? [])
      : includeProjection(fields.include);
  return reduced(shape, projection) ?? { kind: "object", fields: new Map() };
}

/** Returns nothing if the value is not shown: an inclusion of `a.b` drops an `a` that is no object. */
function reduced(shape: Shape, projection: Projection): Shape | undefined {
  switch (shape.kind) {
    case "unknown":
      return shape;
    case "scalar":
    case "literal":
      return projection.keepsRest ? shape : undefined;
    case "array": {
      // The items that are not shown are left out of the array.
      const items = reduced(shape.items, projection);
      return { kind: "array", items: items ?? { kind: "union", of: [] } };
    }
    case "union": {
      const of = shape.of.flatMap((one) => reduced(one, projection) ?? []);
      return of.length === 0 ? undefined : union(of);
    }
    case "object": {
      const fields = new Map<string, Field>();
      for (const [name, { shape: inner, isOptional }] of shape.fields) {
        const shown = projection.fields.get(name) ?? projection.keepsRest;
        const visible = typeof shown === "boolean" ? (shown ? inner : undefined) : reduced(inner, shown);
        const isPartly = typeof shown !== "boolean" && isSometimesHidden(inner, shown);
        if (visible !== undefined) fields.set(name, { shape: visible, isOptional: isOptional || isPartly });
      }
      return { kind: "object", fields };
    }
  }
}

/** Whether some values of the shape are not shown at all, so that a document may lack the field. */
const isSometimesHidden = (shape: Shape, projection: Projection) =>
  !projection.keepsRest &&
  (shape.kind === "unknown" ||
    (shape.kind === "union" && shape.of.some((one) => reduced(one, projection) === undefined)));
