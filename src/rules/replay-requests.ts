/**
 * Replays recorded requests under other rules. A plan of the live subscriptions says nothing about users who are offline;
 * recorded requests include them. No documents are read.
 */
import { fromJs } from "../match/bson-value.ts";
import { TidewireError } from "../protocol/errors.ts";
import {
  authorizeParsed,
  type EffectiveQuery,
  type ParsedRequest,
  type QueryRequest,
  ruleFor,
} from "./authorize.ts";
import type { LookupValues } from "./bind-rule.ts";
import type { Claims } from "./claims.ts";
import { type ClaimParts, claimsReadBy, isRecorded } from "./claims-read.ts";
import type { RuleSet } from "./compile-rules.ts";
import { ParsedRequests } from "./parsed-requests.ts";
import { type RightsEffect, rightsEffect } from "./rights-effect.ts";
import { sameRule } from "./same-rule.ts";

/** A request that a client made. */
export interface RecordedRequest {
  readonly request: QueryRequest;
  /** The claims that the rules read at that time; `null` for an anonymous client. */
  readonly claims: Claims | null;
  /** The paths of those claims. */
  readonly reads: readonly ClaimParts[];
}

/**
 * `refused`: allowed by the present rules and not by the draft. `allowed`: the opposite. `unknown`: the draft reads a claim
 * that was not recorded.
 */
export type ReplayedEffect = RightsEffect | "refused" | "allowed" | "unknown";

/** The effects of a draft on recorded requests. */
export interface Replay {
  readonly requests: number;
  readonly effects: Readonly<Record<ReplayedEffect, number>>;
  /** Requests that the draft affects, a few for each effect, the latest first. */
  readonly samples: readonly {
    readonly effect: ReplayedEffect;
    readonly request: QueryRequest;
    readonly claims: Claims | null;
  }[];
}

/** The two rule sets, and the time at which both are asked. */
interface Sides {
  readonly inForce: RuleSet;
  readonly draft: RuleSet;
  readonly nowMs: number;
  /** Whether both check requests in the same way. */
  readonly isSameLimit: boolean;
  /** Equal requests are parsed once per side. */
  readonly parsed: { readonly inForce: ParsedRequests; readonly draft: ParsedRequests };
}

const SAMPLES_MAX = 20;
/** How long the authorizations of one turn may take, in milliseconds. Other work runs between the turns. */
const TURN_MS = 10;

/** Two sets are equal if their lookups are. Their values are unknown here. */
const opaque: LookupValues = (lookup) => [fromJs(`the values of ${lookup.key}`)];

/** Reads recorded requests one by one, while they are replayed: parsing all of them first would be one long turn. */
export function* parseRecorded(texts: Iterable<string>): Generator<RecordedRequest> {
  for (const text of texts) yield JSON.parse(text) as RecordedRequest; // as `RequestRecorder` writes it
}

/** Judges every request under both rule sets, in turns of a few milliseconds. */
export async function replayRequests(
  recorded: Iterable<RecordedRequest>,
  inForce: RuleSet,
  draft: RuleSet,
  nowMs: number,
): Promise<Replay> {
  const effects: Record<ReplayedEffect, number> = {
    unchanged: 0,
    gains: 0,
    loses: 0,
    changes: 0,
    refused: 0,
    allowed: 0,
    unknown: 0,
  };
  const isSameLimit = JSON.stringify(inForce.limits) === JSON.stringify(draft.limits);
  const parsed = { inForce: new ParsedRequests(), draft: new ParsedRequests() };
  const sides: Sides = { inForce, draft, nowMs, isSameLimit, parsed };
  const samples: Replay["samples"][number][] = [];
  const sampled = new Map<ReplayedEffect, number>();
  let requests = 0;
  let turnEndsMs = performance.now() + TURN_MS;
  for (const each of recorded) {
    requests++;
    const effect = effectOn(each, sides);
    effects[effect]++;
    const count = sampled.get(effect) ?? 0;
    if (effect !== "unchanged" && count < SAMPLES_MAX) {
      sampled.set(effect, count + 1);
      samples.push({ effect, request: each.request, claims: each.claims });
    }
    if (performance.now() < turnEndsMs) continue;
    await new Promise(setImmediate);
    turnEndsMs = performance.now() + TURN_MS;
  }
  return { requests, effects, samples };
}

function effectOn(each: RecordedRequest, sides: Sides): ReplayedEffect {
  const { inForce, draft, nowMs, isSameLimit } = sides;
  const collection = draft.collections.get(each.request.collection);
  const isKnown = collection === undefined || each.claims === null;
  if (!isKnown && !claimsReadBy(collection).every((parts) => isRecorded(parts, each.reads))) return "unknown";
  if (isSameLimit && hasSameRule(each, sides)) return "unchanged";
  const text = JSON.stringify(each.request);
  const parsed = parse(each.request, inForce, sides.parsed.inForce, text);
  const before = judge(parsed, each, inForce, nowMs);
  const again = isSameLimit ? parsed : parse(each.request, draft, sides.parsed.draft, text);
  const after = judge(again, each, draft, nowMs, before ?? undefined);
  if (before === null) return after === null ? "unchanged" : "allowed";
  return after === null ? "refused" : rightsEffect(before, after);
}

/** Whether the rule that applies to the user is in the draft as well, so that nothing changes. */
function hasSameRule({ request, claims }: RecordedRequest, { inForce, draft }: Sides): boolean {
  const collection = inForce.collections.get(request.collection);
  const rule = collection && ruleFor(collection, claims === null ? null : { claims });
  return rule !== undefined && sameRule(rule, inForce, draft, request.collection) !== null;
}

/** `null` if the request itself is refused, whatever the rules are. */
function parse(
  request: QueryRequest,
  { limits }: RuleSet,
  requests: ParsedRequests,
  text: string,
): ParsedRequest | null {
  try {
    return requests.parse(request, limits, text);
  } catch (error) {
    if (error instanceof TidewireError) return null;
    throw error;
  }
}

/**
 * `null` if the request is refused.
 * @param known The result under other rules. Most users have the same grant under both, which costs nothing then.
 */
function judge(
  parsed: ParsedRequest | null,
  { claims }: RecordedRequest,
  rules: RuleSet,
  nowMs: number,
  known?: EffectiveQuery,
): EffectiveQuery | null {
  if (parsed === null) return null;
  try {
    return authorizeParsed(rules, claims === null ? null : { claims }, parsed, nowMs, opaque, known);
  } catch (error) {
    if (error instanceof TidewireError) return null;
    throw error;
  }
}
