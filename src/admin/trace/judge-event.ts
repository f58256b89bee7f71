/** Explains the effect of a change event on a live query, with the same filter and projection that decide about it. */

import type { Filter, Predicate } from "../../match/filter.ts";
import { projectedEqual } from "../../match/projection.ts";
import type { Projection } from "../../match/projection-fields.ts";
import { deciding, predicateText, redactedText } from "../../rules/deciding-predicate.ts";
import { valueText } from "../../rules/deciding-value.ts";
import { hasImages, type StreamEvent } from "../../source/change-event.ts";
import type { TracedEffect } from "./traced.ts";

/** Larger documents take too long to explain in the loop that serves all clients. In bytes. */
const DOCUMENT_MAX = 256 * 1_024;
/** Filters with more values, such as those of a lookup, take too long as well. */
const VALUES_MAX = 500;
/** Characters of one reason. */
const TEXT_MAX = 400;

/** The effect of an event, and its reason with and without values. */
export interface Judged {
  readonly effect: TracedEffect;
  readonly because: string;
  readonly redacted: string;
}

/** The parts of a live query that decide about a document. */
interface Judge {
  readonly filter: Filter;
  readonly projection: Projection;
}

/** The effect of an event on the unlimited result of a live query. */
export function judgeEvent(event: StreamEvent, judge: Judge): Judged {
  if (event.operation === "replaced-collection")
    return said("unknown", `the whole collection was replaced (${event.by}), so the result is read again`);
  if (!hasImages(event))
    return said("unknown", "the event lacks the document before or after it, so the result is read again");
  const { before, after } = event;
  if ((before?.length ?? 0) + (after?.length ?? 0) > DOCUMENT_MAX)
    return said("unknown", "the document is too large to be explained here");
  if (valuesIn(judge.filter) > VALUES_MAX)
    return said("unknown", "the effective filter has too many values to be explained here");
  const was = before === undefined ? null : reasonOf(before, judge.filter);
  const is = after === undefined ? null : reasonOf(after, judge.filter);
  if (before === undefined || was === null || !was.matches)
    return is?.matches === true ? explained("added", is) : explained("none", is ?? was);
  if (after === undefined || is === null) return said("removed", "the document was deleted");
  if (!is.matches) return explained("removed", is);
  if (projectedEqual(judge.projection, before, after)) return said("none", "no visible field has changed");
  return explained("changed", is);
}

function valuesIn(filter: Filter): number {
  if (filter.op === "path") return predicateValues(filter.predicate);
  return filter.filters.reduce((sum, inner) => sum + valuesIn(inner), 0);
}

function predicateValues(predicate: Predicate): number {
  if ("values" in predicate) return predicate.values.length;
  if ("predicates" in predicate)
    return predicate.predicates.reduce((sum, inner) => sum + predicateValues(inner), 0);
  return "filter" in predicate ? valuesIn(predicate.filter) : 1;
}

interface Reason {
  readonly matches: boolean;
  readonly because: string;
  readonly redacted: string;
}

function reasonOf(document: Uint8Array, filter: Filter): Reason {
  if (filter.op === "$and" && filter.filters.length === 0) {
    const because = "the effective filter has no condition";
    return { matches: true, because, redacted: because };
  }
  const { matches, because, path } = deciding(filter, document, cutText(predicateText));
  const value = path === null ? "" : `; ${JSON.stringify(path)} is ${valueText(path, document)}`;
  const redacted = deciding(filter, document, cutText(redactedText)).because;
  return { matches, because: because + value, redacted };
}

const cutText = (text: (filter: Filter) => string) => (filter: Filter) => {
  const whole = text(filter);
  return whole.length > TEXT_MAX ? `${whole.slice(0, TEXT_MAX)}…` : whole;
};

const said = (effect: TracedEffect, text: string): Judged => ({ effect, because: text, redacted: text });

const explained = (effect: TracedEffect, reason: Reason | null): Judged =>
  reason === null
    ? said(effect, "there is no document before or after the event")
    : { effect, because: reason.because, redacted: reason.redacted };
