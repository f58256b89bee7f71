/** Tries a request under the rules in force, with the code that decides about clients. */
import assert from "node:assert/strict";
import type { Feed } from "../feed/feed.ts";
import type { LookupSet } from "../feed/lookup-set.ts";
import type { BsonValue } from "../match/bson-value.ts";
import { encodeDocument } from "../match/encode.ts";
import { EVERYTHING } from "../match/projection.ts";
import { toMongo } from "../match/to-mongo.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { EffectiveQuery } from "../rules/authorize.ts";
import { type BoundLookup, LookupsNeeded, type LookupValues } from "../rules/bind-rule.ts";
import type { RuleSet } from "../rules/compile-rules.ts";
import { type FilterText, predicateText, redactedText } from "../rules/deciding-predicate.ts";
import { valueText } from "../rules/deciding-value.ts";
import { describeAggregate } from "../rules/describe-aggregate.ts";
import { describeProjection } from "../rules/describe-projection.ts";
import { type Explanation, explainAuthorization } from "../rules/explain-authorization.ts";
import type { Subject } from "../rules/grant.ts";
import { readDocument } from "../rules/read-document.ts";
import type { SnapshotCursor, SnapshotQuery } from "../source/snapshot-cursor.ts";
import { givenDocuments } from "./given-documents.ts";
import { hiddenPaths } from "./hidden-paths.ts";
import type { Answers, TriedDocument, TriedOutcome, TriedRequest } from "./questions.ts";
import { type IdentityOf, userOf } from "./tried-user.ts";
import { type CompileDraft, TryDrafts } from "./try-drafts.ts";

/** Documents of one answer. */
const DOCUMENTS_MAX = 20;
/** Bytes of documents of one answer; the last one may exceed it. */
const BYTES_MAX = 1_048_576;
/** How long MongoDB may work on one read, in milliseconds. */
const READ_MS = 5_000;

/** The parts of a node that a try needs. */
export interface TryParts {
  readonly feed: Feed;
  /** The rules in force, and their time. */
  readonly rules: () => { readonly rules: RuleSet; readonly nowMs: number };
  readonly open: (query: SnapshotQuery, after: bigint) => Promise<Pick<SnapshotCursor, "next" | "close">>;
  readonly compileDraft: CompileDraft;
  readonly identityOf: IdentityOf;
  /** Whether the service follows a collection under the rules in force. Of others it reads nothing. */
  readonly isFollowed: (namespace: string) => boolean;
}

/** Answers requests that an admin tries. */
export function tryAnswers(parts: TryParts): Pick<Answers, "tryRequest"> {
  const drafts = new TryDrafts(parts.compileDraft);
  return {
    tryRequest: async ({ as, ...asked }) => {
      const found = userOf(parts.identityOf, as, asked.mayReadDocuments);
      if (found === null) return null;
      const { subject, user } = found;
      const text = user?.redacted === true ? redactedText : predicateText;
      const tried = { ...asked, subject, text };
      assert(text === predicateText || tried.draft === null); // conditions of a draft could find out any claim
      const { rules } = parts.rules();
      const compiling = tried.draft === null ? undefined : drafts.compiled(tried.draft, rules);
      if (compiling === null) return "busy";
      const draft = compiling === undefined ? null : await compiling;
      const inForce = { user, ...(await tryUnder(parts, parts.rules().rules, tried)) };
      if (draft === null || "problems" in draft) return { ...inForce, draft };
      return { ...inForce, draft: await tryUnder(parts, draft, tried) };
    },
  };
}

/** A request of a user who was found. */
interface Tried extends Omit<TriedRequest, "as"> {
  readonly subject: Subject | null;
  /** How conditions are written. */
  readonly text: FilterText;
}

async function tryUnder(parts: TryParts, rules: RuleSet, tried: Tried): Promise<TriedOutcome> {
  try {
    return await tryRequest(parts, rules, tried);
  } catch (error) {
    // A lookup set is too large, or cannot be read. A client would receive the same.
    if (!(error instanceof TidewireError)) throw error;
    const { code: outcome, message: reason } = error;
    return {
      outcome,
      reason,
      rules: [],
      query: null,
      documents: null,
      document: null,
      note: null,
      given: null,
    };
  }
}

async function tryRequest(
  parts: TryParts,
  rules: RuleSet,
  { subject, request, documentId, mayReadDocuments, text }: Tried,
): Promise<TriedOutcome> {
  const { nowMs } = parts.rules();
  const explain = (values: LookupValues, document?: Uint8Array) =>
    explainAuthorization(rules, subject, request, nowMs, document, values, text);
  // A set holds values of documents.
  if (!mayReadDocuments)
    return resultOf(
      explain(() => []),
      {},
      text,
    );
  return withLookups(parts, async (values, used) => {
    const explanation = explain(values);
    const { query } = explanation;
    const about = () => ({ note: unfollowedNote(used.unfollowed), given: givenDocuments(used.sets()) });
    if (query === null) return resultOf(explanation, about());
    const namespace = `${query.database}.${query.collectionName}`;
    if (!parts.isFollowed(namespace)) used.unfollowed.add(namespace);
    if (used.unfollowed.size > 0) return resultOf(explanation, about());
    const judge = (found: Uint8Array) => explain(values, found);
    const document = documentId === undefined ? null : await tryDocument(parts, query, documentId, judge);
    return resultOf(explanation, { ...about(), documents: await readDocuments(parts, query), document });
  });
}

function unfollowedNote(unfollowed: ReadonlySet<string>): string | null {
  if (unfollowed.size === 0) return null;
  const names = [...unfollowed].join(", ");
  return `the service does not follow ${names} before the draft is in force, so no document is read`;
}

const NOTHING = { documents: null, document: null, note: null, given: null };

function resultOf(
  { outcome, reason, rules, query }: Explanation,
  read: Partial<Pick<TriedOutcome, "documents" | "document" | "note" | "given">> = {},
  text: FilterText = predicateText,
): TriedOutcome {
  return { outcome, reason, rules, query: query === null ? null : queryOf(query, text), ...NOTHING, ...read };
}

const queryOf = (query: EffectiveQuery, text: FilterText): NonNullable<TriedOutcome["query"]> => ({
  rule: query.rule,
  namespace: `${query.database}.${query.collectionName}`,
  filter: text(query.filter),
  fields: query.aggregate === null ? describeProjection(query.projection) : null,
  aggregate: query.aggregate === null ? null : describeAggregate(query.aggregate),
  snapshotAllowed: query.snapshotAllowed,
});

/** The lookups that a try has used. */
interface UsedLookups {
  /** Collections that the service does not follow, so that their sets count as empty. */
  readonly unfollowed: Set<string>;
  readonly sets: () => (readonly [BoundLookup, readonly BsonValue[]])[];
}

/** Runs work that needs lookup sets, which are read, and kept up to date, until it ends. */
async function withLookups<T>(
  { feed: { lookups }, isFollowed }: TryParts,
  work: (values: LookupValues, used: UsedLookups) => Promise<T>,
): Promise<T> {
  const sets = new Map<string, readonly [BoundLookup, LookupSet]>();
  const unfollowed = new Set<string>();
  const values: LookupValues = (lookup) => {
    const namespace = `${lookup.database}.${lookup.collectionName}`;
    if (isFollowed(namespace)) return sets.get(lookup.key)?.[1].values ?? null;
    unfollowed.add(namespace);
    return [];
  };
  const used = () => Array.from(sets.values(), ([lookup, set]) => [lookup, set.values] as const);
  try {
    for (;;) {
      try {
        return await work(values, { unfollowed, sets: used });
      } catch (error) {
        if (!(error instanceof LookupsNeeded)) throw error;
        for (const lookup of error.lookups)
          if (!sets.has(lookup.key)) sets.set(lookup.key, [lookup, await lookups.acquire(lookup)]);
      }
    }
  } finally {
    for (const [, set] of sets.values()) lookups.release(set);
  }
}

/** The first documents of the result, as the user would see them; `null` for an aggregate, which shows none. */
async function readDocuments(parts: TryParts, query: EffectiveQuery): Promise<TriedOutcome["documents"]> {
  if (query.aggregate !== null) return null;
  const limit = Math.min(query.limit ?? DOCUMENTS_MAX, DOCUMENTS_MAX);
  const found = await read(parts, query, { filter: toMongo(query.filter), limit: limit + 1 });
  const shown = found.documents.slice(0, limit);
  const hasMore = found.isCut || (found.documents.length > limit && query.limit !== limit);
  return {
    shown: shown.map((document) => JSON.parse(encodeDocument(document, query.projection, "ejson"))),
    hasMore,
  };
}

async function tryDocument(
  parts: TryParts,
  query: EffectiveQuery,
  documentId: unknown,
  explain: (document: Uint8Array) => Explanation,
): Promise<TriedDocument> {
  const filter = readDocument({ _id: documentId });
  if (filter === undefined) return noDocument("the documentId is not Extended JSON");
  const [document] = (await read(parts, { ...query, sort: null }, { filter, limit: 1 })).documents;
  if (document === undefined) return noDocument("there is no such document");
  const verdict = explain(document).document;
  const stored: unknown = JSON.parse(encodeDocument(document, EVERYTHING, "ejson"));
  const shown: unknown = verdict?.shown == null ? null : JSON.parse(verdict.shown);
  return {
    found: true,
    visible: verdict?.visible ?? false,
    because: verdict?.because ?? "",
    decided: verdict?.path == null ? null : { path: verdict.path, value: valueText(verdict.path, document) },
    stored,
    shown,
    hiddenFields: shown === null ? [] : hiddenPaths(stored, shown),
  };
}

const noDocument = (because: string): TriedDocument => ({
  found: false,
  visible: false,
  because,
  decided: null,
  stored: null,
  shown: null,
  hiddenFields: [],
});

/** Reads documents at the present, up to a number of bytes. */
async function read(
  { feed, open }: TryParts,
  { database, collectionName: collection, sort }: EffectiveQuery,
  { filter, limit }: { readonly filter: Uint8Array | SnapshotQuery["filter"]; readonly limit: number },
): Promise<{ documents: Uint8Array[]; isCut: boolean }> {
  // An order that is the same under all rules shows which documents only one of them grants.
  const order = [...(sort ?? []), ...(sort?.some(([path]) => path === "_id") ? [] : [["_id", 1] as const])];
  const sorted = { sort: new Map(order) };
  const query = { database, collection, filter, limit, maxTimeMs: READ_MS, ...sorted };
  const cursor = await open(query, feed.timeline.isReady ? feed.timeline.headTime : 0n);
  try {
    const documents: Uint8Array[] = [];
    let bytes = 0;
    for (let batch = await cursor.next(); batch.length > 0; batch = await cursor.next()) {
      for (const document of batch) {
        if (bytes >= BYTES_MAX) return { documents, isCut: true };
        bytes += document.length;
        documents.push(document);
      }
    }
    return { documents, isCut: false };
  } finally {
    cursor.close();
  }
}
