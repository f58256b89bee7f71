import type { Feed } from "../feed/feed.ts";
import type { LiveQueryView } from "../feed/live-query-view.ts";
import { toMongo } from "../match/to-mongo.ts";
import { predicateText, redactedText } from "../rules/deciding-predicate.ts";
import { describeAggregate } from "../rules/describe-aggregate.ts";
import { describeProjection } from "../rules/describe-projection.ts";
import type { SnapshotQuery } from "../source/snapshot-cursor.ts";
import type { SnapshotPlan } from "../source/snapshot-plan.ts";
import { firstAfter } from "./first-after.ts";
import type { Answers, LiveQueryDetail, LiveQueryRow, LiveQuerySearch, LiveQuerySort } from "./questions.ts";
import { Turns } from "./turns.ts";

/** A filter may be as long as a message. A list shows its beginning. */
const TEXT_MAX = 1_000;
/** How long the planner may take, in milliseconds. */
const PLAN_MS = 5_000;

/** Asks MongoDB how it would run a query. */
export type PlanQuery = (query: SnapshotQuery) => Promise<SnapshotPlan>;

/** Answers the questions about live queries, from those of this process. */
export function liveQueryAnswers(
  feed: Feed,
  names: { readonly node: string; readonly id: string },
  plan: PlanQuery,
): Pick<Answers, "liveQueries" | "liveQuery"> {
  const idOf = ({ number }: LiveQueryView) => `${names.id}.${number}`;
  const rowOf = (
    view: LiveQueryView,
    { sort, mayReadDocuments }: Pick<LiveQuerySearch, "sort" | "mayReadDocuments">,
    textMax = TEXT_MAX,
  ): LiveQueryRow => {
    const { spec, namespace, subscribers, costMs, heldBytes, trackedDocuments, resets, isIndexed } = view;
    // The values come from claims, from documents that lookups read, and from requests.
    const text = (mayReadDocuments ? predicateText : redactedText)(spec.filter);
    return {
      id: idOf(view),
      key: keyOf(sort, view, idOf(view)),
      node: names.node,
      namespace,
      filter: text.length > textMax ? `${text.slice(0, textMax)}…` : text,
      fields: spec.aggregate === null ? describeProjection(spec.projection) : null,
      aggregate: spec.aggregate === null ? null : describeAggregate(spec.aggregate),
      sort: spec.sort === null ? null : JSON.stringify(spec.sort),
      limit: spec.limit,
      subscribers,
      costMs,
      heldBytes,
      trackedDocuments,
      resets,
      isIndexed,
    };
  };
  return {
    liveQueries: async (search) => {
      const { sort, after, limit } = search;
      const key = (view: LiveQueryView) => keyOf(sort, view, idOf(view));
      const found = await firstAfter(feed.views(), key, { after, limit }, (view) => isMeant(view, search));
      const rows: LiveQueryRow[] = [];
      // A filter may contain ten thousand values of a lookup.
      const turns = new Turns();
      for (const view of found) {
        await turns.pause();
        rows.push(rowOf(view, search));
      }
      return rows;
    },
    liveQuery: async ({ id, mayReadDocuments }): Promise<LiveQueryDetail | null> => {
      const [node, number] = id.split(".");
      const [view] = node === names.id ? feed.views(Number(number)) : [];
      if (view === undefined) return null;
      const row = rowOf(view, { sort: "id", mayReadDocuments }, Number.POSITIVE_INFINITY);
      return { ...row, snapshot: await snapshotOf(view, plan) };
    },
  };
}

function isMeant({ spec, namespace }: LiveQueryView, { collection }: LiveQuerySearch): boolean {
  return collection === undefined || collection === namespace || collection === spec.collectionName;
}

/** Enough digits for every number that is sorted by, and few enough that each such number is exact. */
const DIGITS = 15;
const LARGEST = 10 ** DIGITS - 1;

/** A text by which the pages of several processes are merged. Larger values come first. */
function keyOf(sort: LiveQuerySort, view: LiveQueryView, id: string): string {
  if (sort === "id") return id;
  const value = { cost: view.costMs * 1_000, bytes: view.heldBytes, subscribers: view.subscribers }[sort];
  const rank = LARGEST - Math.round(Math.min(value, LARGEST));
  return `${String(rank).padStart(DIGITS, "0")} ${id}`;
}

/** How MongoDB would read the documents of its snapshot; `null` if it does not say. */
async function snapshotOf({ spec }: LiveQueryView, plan: PlanQuery): Promise<LiveQueryDetail["snapshot"]> {
  const { database, collectionName: collection, filter } = spec;
  try {
    const query = { database, collection, filter: toMongo(filter), maxTimeMs: PLAN_MS };
    const { indexes, readsEverything } = await plan(query);
    return { indexes, readsEverything };
  } catch {
    return null; // the live query can be shown without it
  }
}
