/** Tries a request under the rules in force, with the code that decides about clients. */
import type { Feed } from "../feed/feed.ts";
import type { LookupSet } from "../feed/lookup-set.ts";
import { encodeDocument } from "../match/encode.ts";
import { EVERYTHING } from "../match/projection.ts";
import { toMongo } from "../match/to-mongo.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { EffectiveQuery } from "../rules/authorize.ts";
import { LookupsNeeded, type LookupValues } from "../rules/bind-rule.ts";
import type { RuleSet } from "../rules/compile-rules.ts";
import { predicateText } from "../rules/deciding-predicate.ts";
import { describeAggregate } from "../rules/describe-aggregate.ts";
import { describeProjection } from "../rules/describe-projection.ts";
import { type Explanation, explainAuthorization } from "../rules/explain-authorization.ts";
import { readDocument } from "../rules/read-document.ts";
import type { SnapshotCursor, SnapshotQuery } from "../source/snapshot-cursor.ts";
import { hiddenPaths } from "./hidden-paths.ts";
import type { Answers, TriedDocument, TriedRequest, TriedResult } from "./questions.ts";

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
}

/** Answers requests that an admin tries. */
export function tryAnswers(parts: TryParts): Pick<Answers, "tryRequest"> {
  return {
    tryRequest: async (tried) => {
      try {
        return await tryRequest(parts, tried);
      } catch (error) {
        // A lookup set is too large, or cannot be read. A client would receive the same.
        if (!(error instanceof TidewireError)) throw error;
        const { code: outcome, message: reason } = error;
        return { outcome, reason, rules: [], query: null, documents: null, document: null };
      }
    },
  };
}

async function tryRequest(
  parts: TryParts,
  { subject, request, documentId, mayReadDocuments }: TriedRequest,
): Promise<TriedResult> {
  const { rules, nowMs } = parts.rules();
  const explain = (values: LookupValues, document?: Uint8Array) =>
    explainAuthorization(rules, subject, request, nowMs, document, values);
  // A set holds values of documents.
  if (!mayReadDocuments)
    return resultOf(
      explain(() => []),
      null,
      null,
    );
  return withLookups(parts.feed, async (values) => {
    const explanation = explain(values);
    const { query } = explanation;
    if (query === null) return resultOf(explanation, null, null);
    const judge = (found: Uint8Array) => explain(values, found);
    const document = documentId === undefined ? null : await tryDocument(parts, query, documentId, judge);
    return resultOf(explanation, await readDocuments(parts, query), document);
  });
}

function resultOf(
  { outcome, reason, rules, query }: Explanation,
  documents: TriedResult["documents"],
  document: TriedDocument | null,
): TriedResult {
  return { outcome, reason, rules, query: query === null ? null : queryOf(query), documents, document };
}

const queryOf = (query: EffectiveQuery): NonNullable<TriedResult["query"]> => ({
  rule: query.rule,
  namespace: `${query.database}.${query.collectionName}`,
  filter: predicateText(query.filter),
  fields: query.aggregate === null ? describeProjection(query.projection) : null,
  aggregate: query.aggregate === null ? null : describeAggregate(query.aggregate),
  snapshotAllowed: query.snapshotAllowed,
});

/** Runs work that needs lookup sets, which are read, and kept up to date, until it ends. */
async function withLookups<T>({ lookups }: Feed, work: (values: LookupValues) => Promise<T>): Promise<T> {
  const sets = new Map<string, LookupSet>();
  try {
    for (;;) {
      try {
        return await work(({ key }) => sets.get(key)?.values ?? null);
      } catch (error) {
        if (!(error instanceof LookupsNeeded)) throw error;
        for (const lookup of error.lookups)
          if (!sets.has(lookup.key)) sets.set(lookup.key, await lookups.acquire(lookup));
      }
    }
  } finally {
    for (const set of sets.values()) lookups.release(set);
  }
}

/** The first documents of the result, as the user would see them; `null` for an aggregate, which shows none. */
async function readDocuments(parts: TryParts, query: EffectiveQuery): Promise<TriedResult["documents"]> {
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
    stored,
    shown,
    hiddenFields: shown === null ? [] : hiddenPaths(stored, shown),
  };
}

const noDocument = (because: string): TriedDocument => ({
  found: false,
  visible: false,
  because,
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
  const sorted = sort === null ? {} : { sort: new Map(sort) };
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
