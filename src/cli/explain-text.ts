/** The output of `tidewire explain`. */
import { closest } from "../match/did-you-mean.ts";
import { encodeValue } from "../match/encode.ts";
import { filterToBson } from "../match/to-mongo.ts";
import { predicateText } from "../rules/deciding-predicate.ts";
import { describeAggregate } from "../rules/describe-aggregate.ts";
import { describeProjection } from "../rules/describe-projection.ts";
import type { Explanation } from "../rules/explain-authorization.ts";
import type { Subject } from "../rules/grant.ts";

/** The error for a name that the configuration does not have. */
export function unknownCollection(name: string, known: readonly string[]): string {
  const near = closest(name, known);
  const guess = near === undefined ? "" : ` Did you mean ${near}?`;
  return `the configuration has no collection ${JSON.stringify(name)}.${guess} Collections: ${known.join(", ")}`;
}

/** An explanation for a person. @param index As `snapshotIndex` says it; `null` if there is no snapshot. */
export function explanationText(
  explanation: Explanation,
  subject: Subject | null,
  index: string | null,
): string {
  const { collection, outcome, reason, rules, query, document } = explanation;
  const who = subject === null ? "an anonymous user" : `the user ${JSON.stringify(subject.claims)}`;
  const lines = [`${outcome === "allowed" ? "allowed" : `refused (${outcome})`}: ${who} on ${collection}`];
  if (reason !== null) lines.push(`  because ${reason}`);
  if (rules.length > 0) lines.push("rules:");
  for (const { name, applies, because } of rules) lines.push(`  ${applies ? "→" : " "} ${name}: ${because}`);
  if (query !== null) {
    const shown =
      query.aggregate === null
        ? `fields: ${describeProjection(query.projection)}`
        : `rows: ${describeAggregate(query.aggregate)}, and no documents`;
    lines.push(`filter: ${predicateText(query.filter)}`, shown);
    if (!query.snapshotAllowed) lines.push("snapshot: not allowed, only changes");
  }
  if (index !== null) lines.push(`index for the snapshot: ${index}`);
  if (document !== null) {
    const counts = query?.aggregate == null ? ["visible", "hidden"] : ["counted", "not counted"];
    lines.push(`document: ${document.visible ? counts[0] : counts[1]}, as ${document.because}`);
    if (document.shown !== null) lines.push(`  seen as ${document.shown}`);
  }
  return lines.join("\n");
}

/** An explanation for a program. */
export function explanationJson({ query, ...explanation }: Explanation, index: string | null) {
  const effective =
    query === null
      ? null
      : {
          rule: query.rule,
          namespace: `${query.database}.${query.collectionName}`,
          filter: JSON.parse(encodeValue(filterToBson(query.filter), "ejson")),
          fields: describeProjection(query.projection),
          aggregate: query.aggregate,
          snapshotAllowed: query.snapshotAllowed,
          key: query.key,
        };
  return { ...explanation, query: effective, index };
}
