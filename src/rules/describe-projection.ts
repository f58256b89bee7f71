import type { Projection } from "../match/projection-fields.ts";

/** The fields that a projection shows, in words: "all but margin, notes.internal", "only _id, roomId". */
export function describeProjection(projection: Projection): string {
  const listed = listedPaths(projection, "");
  if (!projection.keepsRest) return `only ${listed.join(", ")}`;
  return listed.length === 0 ? "all fields" : `all but ${listed.join(", ")}`;
}

/** The paths that differ from the rest of their level. A level of the other kind is described in brackets. */
function listedPaths({ keepsRest, fields }: Projection, prefix: string): string[] {
  return [...fields].flatMap(([name, shown]) => {
    const path = prefix + name;
    if (typeof shown === "boolean") return shown === keepsRest ? [] : [path];
    if (shown.keepsRest === keepsRest) return listedPaths(shown, `${path}.`);
    return [`${path} (${keepsRest ? "but " : ""}${describeProjection(shown)})`];
  });
}
