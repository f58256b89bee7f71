/**
 * Replays recorded requests under other rules. A plan of the live subscriptions says nothing about users who are offline;
 * recorded requests include them. No documents are read.
 */
import { fromJs } from "../match/bson-value.ts";
import { TidewireError } from "../protocol/errors.ts";
import { type ParsedRequest, type QueryRequest, type Shown, shownBy } from "./authorize.ts";
import type { LookupValues } from "./bind-rule.ts";
import type { Claims } from "./claims.ts";
import { type ClaimParts, claimsReadBy, isRecorded } from "./claims-read.ts";
import type { RuleSet } from "./compile-rules.ts";
import { type AppliedRule, appliedRuleOf, ruleFor } from "./grant.ts";
import { ParsedRequests } from "./parsed-requests.ts";
import { type RightsEffect, shownEffect } from "./rights-effect.ts";
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

/** The verdict of both rule sets on a user in one collection, for every request. `null`: the user is refused. */
type Verdict =
  | "unknown"
  | "unchanged"
  | { readonly before: AppliedRule | null; readonly after: AppliedRule | null };

const SAMPLES_MAX = 20;
/** How many verdicts are kept. The oldest is dropped first. */
const VERDICTS_MAX = 2_000;
/** The verdict on claims that are longer than this, in characters, is not kept. */
const USER_TEXT_MAX = 1_024;
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
  const comparison = new Comparison(inForce, draft, nowMs);
  const samples: Replay["samples"][number][] = [];
  const sampled = new Map<ReplayedEffect, number>();
  let requests = 0;
  let turnEndsMs = performance.now() + TURN_MS;
  for (const each of recorded) {
    requests++;
    const effect = comparison.effectOn(each);
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

/** Judges requests under two rule sets. Work that several requests have in common is done once. */
class Comparison {
  readonly #inForce: RuleSet;
  readonly #draft: RuleSet;
  readonly #nowMs: number;
  /** Whether both check requests in the same way. */
  readonly #isSameLimit: boolean;
  /** Equal requests are parsed once per side. */
  readonly #parsed = { inForce: new ParsedRequests(), draft: new ParsedRequests() };
  /** By the collection, the claims and their paths. */
  readonly #verdicts = new Map<string, Verdict>();
  #last: { readonly text: string; readonly claims: Claims | null } | null = null;

  constructor(inForce: RuleSet, draft: RuleSet, nowMs: number) {
    this.#inForce = inForce;
    this.#draft = draft;
    this.#nowMs = nowMs;
    this.#isSameLimit = JSON.stringify(inForce.limits) === JSON.stringify(draft.limits);
  }

  effectOn(each: RecordedRequest): ReplayedEffect {
    const verdict = this.#verdictOn(each);
    if (typeof verdict === "string") return verdict;
    const { request } = each;
    const text = JSON.stringify(request);
    const parsed = parse(request, this.#inForce, this.#parsed.inForce, text);
    const before = shown(verdict.before, parsed);
    const again = this.#isSameLimit ? parsed : parse(request, this.#draft, this.#parsed.draft, text);
    const after = shown(verdict.after, again);
    if (before === null) return after === null ? "unchanged" : "allowed";
    return after === null ? "refused" : shownEffect(before, after);
  }

  #verdictOn({ request: { collection }, claims, reads }: RecordedRequest): Verdict {
    const claimsText = JSON.stringify(claims);
    const user = `${JSON.stringify([collection, reads])} ${claimsText}`;
    const known = this.#verdicts.get(user);
    if (known !== undefined) return known;
    // Requests of one user follow one another. Rules evaluate equal claims faster if they are the same object.
    if (this.#last?.text !== claimsText) this.#last = { text: claimsText, claims };
    const verdict = this.#judge(collection, this.#last.claims, reads);
    if (user.length > USER_TEXT_MAX) return verdict;
    if (this.#verdicts.size >= VERDICTS_MAX) {
      const [oldest] = this.#verdicts.keys();
      if (oldest !== undefined) this.#verdicts.delete(oldest);
    }
    this.#verdicts.set(user, verdict);
    return verdict;
  }

  #judge(name: string, claims: Claims | null, reads: readonly ClaimParts[]): Verdict {
    const collection = this.#draft.collections.get(name);
    const isKnown = collection === undefined || claims === null;
    if (!isKnown && !claimsReadBy(collection).every((parts) => isRecorded(parts, reads))) return "unknown";
    if (this.#isSameLimit && this.#hasSameRule(name, claims)) return "unchanged";
    const applied = (rules: RuleSet) =>
      refusedAsNull(() => appliedRuleOf(rules, subjectOf(claims), name, this.#nowMs, opaque));
    return { before: applied(this.#inForce), after: applied(this.#draft) };
  }

  /** Whether the rule that applies to the user is in the draft as well, so that nothing changes. */
  #hasSameRule(name: string, claims: Claims | null): boolean {
    const collection = this.#inForce.collections.get(name);
    const rule = collection && ruleFor(collection, subjectOf(claims));
    return rule !== undefined && sameRule(rule, this.#inForce, this.#draft, name) !== null;
  }
}

const subjectOf = (claims: Claims | null) => (claims === null ? null : { claims });

/** `null` if the request itself is refused, whatever the rules are. */
const parse = (
  request: QueryRequest,
  { limits }: RuleSet,
  requests: ParsedRequests,
  text: string,
): ParsedRequest | null => refusedAsNull(() => requests.parse(request, limits, text));

/** `null` if the request is refused. */
const shown = (rule: AppliedRule | null, parsed: ParsedRequest | null): Shown | null =>
  rule === null || parsed === null ? null : refusedAsNull(() => shownBy(rule, parsed));

function refusedAsNull<T>(decide: () => T): T | null {
  try {
    return decide();
  } catch (error) {
    if (error instanceof TidewireError) return null;
    throw error;
  }
}
