/**
 * The rights of sinks. A sink is a connection inside the process, so that edits of rules, lookups and revocations reach
 * it exactly as they reach a client.
 */
import { subjectOf } from "../auth/subject.ts";
import { BY_CONFIGURATION, type Identity } from "../auth/verify-token.ts";
import type { GatewayContext } from "../gateway/context.ts";
import { RuleTimes } from "../gateway/rights/rule-times.ts";
import { EVERYTHING } from "../match/projection.ts";
import type { Projection } from "../match/projection-fields.ts";
import { type CollectionRules, OWN_FIELDS, type Rule, type RuleSet } from "../rules/compile-rules.ts";
import { PRESENCE } from "../rules/presence-options.ts";
import type { SinkOptions } from "./options.ts";
import { SinkRequests } from "./sink-request.ts";

/** Tickets of sinks without claims prove no rights that could end, so they do not end either. In milliseconds. */
const UNLIMITED_MS = 100 * 365 * 24 * 3_600_000;

/** The user of a sink; `null` for a sink without claims. */
export function identityOf({ as }: Pick<SinkOptions, "as">): Identity | null {
  if (as === undefined) return null;
  const text = (name: string) => (typeof as[name] === "string" ? as[name] : undefined);
  const sub = text("sub");
  return {
    claims: as,
    sub: sub ?? null,
    subject: subjectOf({ iss: text("iss"), sub }),
    expiresAtMs: null,
    issuedAtMs: null,
    tokenId: text("jti") ?? null,
    signedBy: BY_CONFIGURATION,
  };
}

/** The context of a sink's connection. */
export function sinkContext(context: GatewayContext, options: SinkOptions): GatewayContext {
  const { maxConnectionAgeMs: _, ...server } = context.server;
  const own: Partial<GatewayContext> = {
    server,
    requests: new SinkRequests(options),
    // A recorded request would be replayed as that of a client.
    recorder: null,
    ...(options.as === undefined
      ? {
          rulesAhead: null,
          ruleTimes: ALWAYS,
          ticketTerms: { ...context.ticketTerms, maxAgeMs: UNLIMITED_MS },
        }
      : {}),
  };
  // Not a copy: an edit replaces the rules of the node's context, and a trace begins there.
  const made: GatewayContext = Object.assign(Object.create(context), own);
  if (options.as === undefined)
    Object.defineProperty(made, "rules", { get: () => openRules(context.rules, options.collection) });
  return made;
}

const opened = new WeakMap<RuleSet, Map<string, RuleSet>>();

/**
 * Rules that show everybody all of one collection, which has to be one of the configured collections. The fields of the
 * service's own in the entries of presence stay hidden.
 */
function openRules(rules: RuleSet, name: string): RuleSet {
  const byName = opened.get(rules) ?? new Map<string, RuleSet>();
  opened.set(rules, byName);
  const known = byName.get(name);
  if (known !== undefined) return known;
  const collection = rules.collections.get(name);
  const hidden = rules.presence !== undefined && name === PRESENCE ? OWN_FIELDS : EVERYTHING;
  const made: RuleSet = {
    ...rules,
    collections: collection === undefined ? new Map() : new Map([[name, openCollection(collection, hidden)]]),
  };
  byName.set(name, made);
  return made;
}

const openCollection = (
  { name, database, collectionName }: CollectionRules,
  projection: Projection,
): CollectionRules => ({
  name,
  database,
  collectionName,
  lookups: new Map(),
  // Like the digest of any rule, it names everything on which the meaning of the rule depends.
  rules: [{ ...OPEN, projection, identity: `sink ${database}.${collectionName}` }],
});

const OPEN: Omit<Rule, "identity" | "projection"> = {
  name: "sink",
  anonymous: true,
  when: null,
  holds: () => true,
  filter: { op: "$and", filters: [] },
  usesNow: false,
  allow: {
    sort: null,
    maxLimit: null,
    snapshot: true,
    aggregate: true,
    documents: true,
    requireIndex: false,
  },
};

/** No edit of the rules gives or takes the rights of a sink without claims. */
class Always extends RuleTimes {
  override sinceOf(): bigint {
    return 0n;
  }
}

const NO_LIMITS = { filterDepth: 0, filterPredicates: 0, filterValues: 0, projectionNodes: 0, sortPaths: 0 };
const NO_RULES: RuleSet = { collections: new Map(), limits: { ...NO_LIMITS, windowSize: 0 }, nowStepMs: 1 };
const ALWAYS = new Always(NO_RULES, new Map(), 0n);
