/**
 * Explains the outcome of a request, for admins and never for clients. It calls the same `authorize` that decides about
 * clients, and adds the reasons afterwards, so an explanation cannot differ from the decision.
 */
import { encodeDocument } from "../match/encode.ts";
import { type ErrorCode, TidewireError } from "../protocol/errors.ts";
import { authorize, type EffectiveQuery, type QueryRequest } from "./authorize.ts";
import type { LookupValues } from "./bind-rule.ts";
import { ClaimRefused } from "./claims.ts";
import type { Rule, RuleSet } from "./compile-rules.ts";
import { deciding, type FilterText, predicateText } from "./deciding-predicate.ts";
import type { Subject } from "./grant.ts";
import { claimsToBson, whenText } from "./when-document.ts";

/** The decision about one request, rule by rule. */
export interface Explanation {
  readonly collection: string;
  /** `allowed`, or the code of the error that the client receives. */
  readonly outcome: "allowed" | ErrorCode;
  /** The reason for a refusal, in more detail than the client receives; `null` if the request is allowed. */
  readonly reason: string | null;
  /** In the order of the file, with the reason why each applies or not. */
  readonly rules: readonly { readonly name: string; readonly applies: boolean; readonly because: string }[];
  readonly query: EffectiveQuery | null;
  readonly document: DocumentVerdict | null;
}

/** Whether a document is visible to the user, and why. */
export interface DocumentVerdict {
  readonly visible: boolean;
  /** The predicate that decides. */
  readonly because: string;
  /** The path of that predicate; `null` if no single one decides. */
  readonly path: string | null;
  /** The part that the client would see, as Extended JSON text. */
  readonly shown: string | null;
}

/**
 * Explains what `authorize` would do.
 * @param document A document as BSON. The result says whether and why it is visible.
 * @param lookupValues The values of lookup sets, which are in the database. Default: each set is empty, and the query
 *   names it.
 * @param text How conditions are written in the reasons.
 * @throws {LookupsNeeded} It names the sets for which `lookupValues` returned `null`.
 */
export function explainAuthorization(
  rules: RuleSet,
  subject: Subject | null,
  request: QueryRequest,
  nowMs: number,
  document?: Uint8Array,
  lookupValues: LookupValues = () => [],
  text: FilterText = predicateText,
): Explanation {
  const { collection } = request;
  const about = {
    collection,
    rules: explainRules(rules, subject, collection, Number.POSITIVE_INFINITY, text),
  };
  let query: EffectiveQuery;
  try {
    query = authorize(rules, subject, request, nowMs, lookupValues);
  } catch (error) {
    if (!(error instanceof TidewireError)) throw error;
    const reason = reasonOf(error, about.rules);
    return { ...about, outcome: error.code, reason, query: null, document: null };
  }
  const verdict = document === undefined ? null : judge(query, document, text);
  return { ...about, outcome: "allowed", reason: null, query, document: verdict };
}

function reasonOf(error: TidewireError, rules: Explanation["rules"]): string {
  if (error.cause instanceof ClaimRefused) {
    const applied = rules.find(({ applies }) => applies)?.name;
    return `rule ${applied} applies, but ${error.cause.message}; later rules are not tried`;
  }
  const refused = error.code === "forbidden" || error.code === "unknown-collection";
  if (refused && rules.length > 0 && rules.every(({ applies }) => !applies)) return "no rule applies";
  return error.message;
}

/**
 * Which rule of a collection applies to a user, and why each other one does not.
 * @param most How many rules are explained.
 * @param text How conditions are written in the reasons.
 */
export function explainRules(
  rules: RuleSet,
  subject: Subject | null,
  name: string,
  most = Number.POSITIVE_INFINITY,
  text: FilterText = predicateText,
): Explanation["rules"] {
  const explained: { name: string; applies: boolean; because: string }[] = [];
  for (const rule of rules.collections.get(name)?.rules ?? []) {
    if (explained.length >= most) break;
    const earlier = explained.find(({ applies }) => applies);
    const verdict =
      earlier === undefined
        ? explainRule(rule, subject, text)
        : { applies: false, because: `not asked: ${earlier.name} applies already` };
    explained.push({ name: rule.name, ...verdict });
  }
  return explained;
}

function explainRule(
  rule: Rule,
  subject: Subject | null,
  text: FilterText,
): { applies: boolean; because: string } {
  if (subject === null && !rule.anonymous) {
    return { applies: false, because: "it does not say anonymous: true, and the user is anonymous" };
  }
  if (rule.when === null) return { applies: true, because: "it has no when, so it is for everybody" };
  const { matches, because } = deciding(rule.when, claimsToBson(subject?.claims ?? {}), text);
  return { applies: matches, because: `when ${whenText(because)}` };
}

function judge(query: EffectiveQuery, document: Uint8Array, text: FilterText): DocumentVerdict {
  const { matches, because, path } = deciding(query.filter, document, text);
  // Of an aggregate the client sees no document.
  const isShown = matches && query.aggregate === null;
  const shown = isShown ? encodeDocument(document, query.projection, "ejson") : null;
  return { visible: matches, because, path, shown };
}
