/**
 * Runs rule tests: compares the decision of the rules for given claims and documents with the expectation of their
 * author. The decision is made by the code that decides about clients, so a passing test is a statement about the
 * running service.
 */
import { isBindable } from "../match/bind-filter.ts";
import { compileFilter } from "../match/compile-filter.ts";
import { encodeDocument } from "../match/encode.ts";
import { compilePathValues } from "../match/path-values.ts";
import { EVERYTHING } from "../match/projection.ts";
import type { AggregateRequest } from "../protocol/messages.ts";
import type { QueryRequest } from "./authorize.ts";
import { type BoundLookup, LookupsNeeded, type LookupValues } from "./bind-rule.ts";
import type { RuleSet } from "./compile-rules.ts";
import { type Explanation, explainAuthorization } from "./explain-authorization.ts";
import { grantOf, type Subject } from "./grant.ts";
import { readDocument } from "./read-document.ts";
import type { RuleCoverage } from "./rule-coverage.ts";
import type { DocumentExpectation, RuleTest, RuleTestFile } from "./rule-test-options.ts";
import { hasPath, shownDifference } from "./shown-difference.ts";

/** One expectation that does not hold. */
export interface RuleTestFailure {
  /** Location of the expectation in the file. */
  readonly path: readonly (string | number)[];
  readonly test: string;
  /** `null` for an anonymous client. */
  readonly claims: RuleTest["as"] | null;
  readonly collection: string;
  readonly expected: string;
  readonly found: string;
  /** The predicate that decided, or the reason of the refusal; `null` if `found` contains everything. */
  readonly because: string | null;
  /** Why each rule of the collection applies or not. */
  readonly rules: Explanation["rules"];
  /** The document of the expectation, in the form of the file. */
  readonly document: Readonly<Record<string, unknown>> | null;
  /** For an exact `shown`, every path that differs. */
  readonly differences: readonly string[];
}

/** The result of all tests of a file. */
export interface RuleTestRun {
  readonly tests: number;
  /** How many of the tests have one or more failures. */
  readonly failed: number;
  readonly failures: readonly RuleTestFailure[];
}

/** Settings of the configuration that affect the outcome in addition to the rules. */
export interface RuleTestSettings {
  /** Whether clients without a token are admitted at all (`auth.anonymous`). */
  readonly anonymous: boolean;
  /** The value of `%%now` if neither the file nor the test sets it, in epoch milliseconds. */
  readonly nowMs: number;
}

type Verdict = Omit<
  RuleTestFailure,
  "test" | "claims" | "collection" | "rules" | "document" | "differences"
> &
  Partial<RuleTestFailure>;

/**
 * Runs the tests of a file, with the function that also decides about clients.
 * @param coverage Notes the parts of the rules that the tests reach.
 */
export function testRules(
  rules: RuleSet,
  file: RuleTestFile,
  settings: RuleTestSettings,
  coverage: RuleCoverage,
): RuleTestRun {
  const failures = file.tests.flatMap((test, index) => {
    const path = ["tests", index];
    const asked = askedBy(file, test, settings);
    const ask = asker(rules, asked, settings);
    const explanation = ask();
    const about = { test: test.name, claims: test.as ?? null, collection: test.collection, document: null };
    if (typeof explanation === "string") {
      const expected = `documents of ${explanation} under given, as a lookup reads them ([] for none)`;
      return [{ ...about, path, expected, found: "nothing", because: null, rules: [], differences: [] }];
    }
    noteReached(coverage, rules, asked, explanation, test.documents ?? []);
    return [...judge(test, explanation, ask)].map((verdict) => ({
      ...about,
      rules: explanation.rules,
      differences: [],
      ...verdict,
      path: [...path, ...verdict.path],
    }));
  });
  const failed = new Set(failures.map(({ path }) => path[1])).size;
  return { tests: file.tests.length, failed, failures };
}

/** The request of a test, and everything else that decides about it. */
interface Asked {
  /** `null` for an anonymous client. */
  readonly subject: Subject | null;
  readonly request: QueryRequest;
  readonly nowMs: number;
  readonly lookupValues: LookupValues;
}

function askedBy(file: RuleTestFile, test: RuleTest, settings: RuleTestSettings): Asked {
  const { as, collection, filter, fields, sort, limit, snapshot, aggregate } = test;
  const now = test.now ?? file.now;
  const nowMs = now === undefined ? settings.nowMs : Date.parse(now);
  const lookupValues = valuesFrom([test.given ?? {}, file.given ?? {}]);
  const request: QueryRequest = {
    collection,
    ...(filter === undefined ? {} : { filter }),
    ...(fields === undefined ? {} : { fields }),
    ...(sort === undefined ? {} : { sort }),
    ...(limit === undefined ? {} : { limit }),
    ...(snapshot === undefined ? {} : { snapshot }),
    // `authorize` checks its shape.
    ...(aggregate === undefined ? {} : { aggregate: aggregate as AggregateRequest }),
  };
  return { subject: as === undefined ? null : { claims: as }, request, nowMs, lookupValues };
}

type Ask = (document?: Uint8Array) => Explanation | string;

/** Explains the request of a test, or names the collections that must be given for that. */
function asker(
  rules: RuleSet,
  { subject, request, nowMs, lookupValues }: Asked,
  settings: RuleTestSettings,
): Ask {
  return (document) => {
    if (subject === null && !settings.anonymous) return refusedConnection(request.collection);
    try {
      return explainAuthorization(rules, subject, request, nowMs, document, lookupValues);
    } catch (error) {
      if (!(error instanceof LookupsNeeded)) throw error;
      return [...new Set(error.lookups.map(({ collectionName }) => collectionName))].join(", ");
    }
  };
}

/** Notes the rule that applies in a test, and the branches that hold for its user and its documents. */
function noteReached(
  coverage: RuleCoverage,
  rules: RuleSet,
  { subject, request, nowMs, lookupValues }: Asked,
  explanation: Explanation,
  documents: readonly DocumentExpectation[],
): void {
  const name = appliedRule(explanation);
  const rule = rules.collections.get(request.collection)?.rules.find((each) => each.name === name);
  if (rule === undefined) return;
  coverage.noteRule(rule, subject?.claims ?? {});
  if (explanation.query === null) return;
  const { filter } = grantOf(rules, subject, request.collection, nowMs, lookupValues);
  for (const { visible, hidden } of documents) {
    const document = readDocument(visible ?? hidden ?? {});
    if (document !== undefined) coverage.noteDocument(rule, filter, document);
  }
}

/** The result for clients that may not even connect. No rule is evaluated for them. */
function refusedConnection(collection: string): Explanation {
  const reason = "auth.anonymous is off: a user without a token cannot connect";
  return { collection, outcome: "unauthenticated", reason, rules: [], query: null, document: null };
}

type Given = NonNullable<RuleTestFile["given"]>;

/** The sets that lookups would find. The first of `givens` with the collection counts; `null` if none has it. */
function valuesFrom(givens: readonly Given[]): LookupValues {
  return ({ database, collectionName, filter, value }: BoundLookup) => {
    const names = [`${database}.${collectionName}`, collectionName];
    const documents = givens
      .flatMap((given) => names.map((name) => (Object.hasOwn(given, name) ? given[name] : undefined)))
      .find((candidate) => candidate !== undefined);
    if (documents === undefined) return null;
    const matches = compileFilter(filter);
    const values = compilePathValues(value);
    return toBson(documents)
      .filter(matches)
      .flatMap((document) => values.of(document))
      .filter(isBindable);
  };
}

function toBson(documents: readonly Readonly<Record<string, unknown>>[]): Uint8Array[] {
  return documents.flatMap((document) => readDocument(document) ?? []);
}

const appliedRule = ({ rules }: Explanation) => rules.find(({ applies }) => applies)?.name ?? null;

/** An anonymous client cannot distinguish these refusals. The author of a test may. */
const REFUSALS: readonly string[] = ["forbidden", "unknown-collection", "unauthenticated"];

function* judge(test: RuleTest, explanation: Explanation, ask: Ask): Generator<Verdict> {
  const { outcome, reason } = explanation;
  const found = REFUSALS.includes(outcome) ? "forbidden" : outcome;
  const rule = appliedRule(explanation);
  if (test.rule !== undefined && test.rule !== rule) {
    yield {
      path: ["rule"],
      expected: `rule ${test.rule}`,
      found: rule === null ? "no rule" : `rule ${rule}`,
      because: null,
    };
  }
  const expected = test.expect ?? "allowed";
  if (found !== expected) {
    const path = test.expect === undefined ? ["collection"] : ["expect"];
    const because = reason ?? `rule ${rule} applies and lets this through`;
    yield { path, expected, found, because };
  }
  for (const [index, expectation] of (test.documents ?? []).entries()) {
    yield* judgeDocument(expectation, ["documents", index], ask);
  }
}

function* judgeDocument(
  { visible, hidden, shown, without = [] }: DocumentExpectation,
  path: readonly (string | number)[],
  ask: Ask,
): Generator<Verdict> {
  const expected = visible === undefined ? "hidden" : "visible";
  const document = visible ?? hidden ?? {};
  const explanation = ask(readDocument(document));
  const verdict = typeof explanation === "string" ? null : explanation.document;
  // A refused request shows no document. The refusal was reported once, and need not be repeated for each document.
  if (verdict === null) return;
  const found = verdict.visible ? "visible" : "hidden";
  if (found !== expected) {
    yield { path: [...path, expected], expected, found, because: verdict.because, document };
  }
  if (expected === "hidden" || verdict.shown === null) return;
  const seen: unknown = JSON.parse(verdict.shown);
  const differences = shown === undefined ? [] : shownDifference(plain(shown), seen);
  if (differences.length > 0) {
    const texts = {
      expected: `shown as ${JSON.stringify(plain(shown ?? {}))}`,
      found: `shown as ${verdict.shown}`,
    };
    yield { path: [...path, "shown"], ...texts, because: null, document, differences };
  }
  for (const [index, field] of without.entries()) {
    if (!hasPath(seen, field)) continue;
    const texts = { expected: `${field} is not shown`, found: `shown as ${verdict.shown}` };
    yield { path: [...path, "without", index], ...texts, because: null, document };
  }
}

/** A document of the file in the form in which visible documents are compared. */
function plain(document: Readonly<Record<string, unknown>>): unknown {
  return JSON.parse(encodeDocument(readDocument(document) ?? new Uint8Array(5), EVERYTHING, "ejson"));
}
