import { type Aggregator, Counter, type CounterConfiguration, Gauge, Histogram, Registry } from "prom-client";
import { COUNTERS, combinationsOf, LABEL_VALUES } from "./counters.ts";
import { processMetrics, setBuild } from "./process-metrics.ts";
import { Tally } from "./tally.ts";

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** The options of `limits` whose slots snapshots and catch-ups wait for. */
const LIMITS_WITH_SLOTS = [
  "snapshotConcurrency",
  "snapshotsPerUser",
  "snapshotsPerConnection",
  "catchUpStreams",
] as const;

/** Every gauge of the service, in the order of the data flow. Rules as for `COUNTERS`. */
const GAUGES = {
  streamState: ["tidewire_stream_up", "1 while the change stream is open, else 0.", []],
  streamDownSeconds: [
    "tidewire_stream_down_seconds",
    "Time for which the change stream has been down, under the reason of its last failure; 0 while it is up.",
    ["reason"],
  ],
  streamSource: [
    "tidewire_stream_source",
    "1 for the source that the node reads its changes from, mongodb or tail, else 0.",
    ["source"],
  ],
  collectionsRead: [
    "tidewire_collections_read",
    "Configured collections whose changes the node reads, because somebody follows them or did recently.",
    [],
  ],
  tailConfigured: ["tidewire_tail_configured", "1 if mongodb.tail is set, else 0.", []],
  tailLeader: ["tidewire_tail_leader", "1 while this node fills the shared tail, else 0.", []],
  tailBytes: ["tidewire_tail_bytes", "Bytes in the shared tail, on the node that fills it.", []],
  tailLag: [
    "tidewire_tail_lag_seconds",
    "From the leader's read of an event to its arrival on this node, by MongoDB's clock.",
    [],
  ],
  images: [
    "tidewire_images",
    "1 if the images of a collection are on, 0 if documents are read at the time of each event.",
    ["collection"],
  ],
  historyCommits: ["tidewire_history_commits", "Commits in the history.", []],
  historyBytes: ["tidewire_history_bytes", "Bytes of change events in the history.", []],
  historySeconds: ["tidewire_history_seconds", "How far back the history reaches.", []],
  publishedHeadAge: [
    "tidewire_published_head_age_seconds",
    "Age of the head of the change stream that clients receive, which advances in steps of history.cursorStep.",
    [],
  ],
  changeLogBytes: ["tidewire_change_log_bytes", "Bytes of the change logs of live queries.", []],
  encodeCacheBytes: [
    "tidewire_encode_cache_bytes",
    "Bytes of documents and strings cached for a moment while changes are encoded.",
    [],
  ],
  encodedBytes: ["tidewire_encoded_bytes", "Bytes of encoded changes kept for catch-up.", []],
  snapshotCacheBytes: [
    "tidewire_snapshot_cache_bytes",
    "Bytes of snapshots that are being sent, or kept for new subscribers.",
    [],
  ],
  snapshotReads: [
    "tidewire_snapshot_reads",
    "Reads of snapshots, lookups and parts of results in progress.",
    [],
  ],
  limitWaiting: [
    "tidewire_limit_waiting",
    "Snapshots, lookups and catch-ups that wait because as many are in progress as this option of `limits` allows.",
    ["limit"],
  ],
  catchUpStreams: ["tidewire_catch_up_streams", "Extra change streams open for catch-up.", []],
  liveQueries: ["tidewire_live_queries", "Live queries.", []],
  lingeringLiveQueries: [
    "tidewire_lingering_live_queries",
    "Live queries without subscribers, kept for a moment.",
    [],
  ],
  windowDocuments: ["tidewire_window_documents", "Documents that windows of sorted live queries track.", []],
  windowBytes: [
    "tidewire_window_bytes",
    "Bytes of sort keys, and of the few documents beyond the limit, that windows hold.",
    [],
  ],
  windowReadBytes: ["tidewire_window_read_bytes", "Bytes of sorted results that are being read or sent.", []],
  costliestLiveQuery: [
    "tidewire_costliest_live_query_seconds",
    "Mean time per commit of the most expensive live query of the last second.",
    [],
  ],
  lookupSets: ["tidewire_lookup_sets", "Lookup sets that are kept current.", []],
  lookupValues: ["tidewire_lookup_values", "Values in all lookup sets.", []],
  lookupBytes: ["tidewire_lookup_bytes", "Size of the values in all lookup sets.", []],
  lostRights: [
    "tidewire_lost_rights",
    "Rights lost by newer tokens that are remembered, one for each user and collection.",
    [],
  ],
  lostRightsUnsaved: [
    "tidewire_lost_rights_unsaved",
    "Rights lost by newer tokens that other nodes cannot know yet.",
    [],
  ],
  subscriptions: ["tidewire_subscriptions", "Subscriptions of all connections.", ["collection"]],
  sockets: [
    "tidewire_sockets",
    "Open sockets of the listeners for clients, with or without a request yet.",
    [],
  ],
  connections: ["tidewire_connections", "Connections.", []],
  presenceEntries: [
    "tidewire_presence_entries",
    "Entries of presence on this node, those included whose connection has ended.",
    [],
  ],
  presenceClaims: [
    "tidewire_presence_claims",
    "Entries of presence that other nodes have written, and that are on this node now.",
    [],
  ],
  presenceDepartures: [
    "tidewire_presence_departures",
    "Entries of presence that nobody may keep any more, and about which this node is to decide.",
    [],
  ],
  userAccounts: ["tidewire_user_accounts", "Users with charges on this node.", []],
  revocations: ["tidewire_revocations", "Revocations in force.", []],
  revocationBytes: ["tidewire_revocation_bytes", "Bytes of revocations in memory.", []],
  jwksAge: ["tidewire_jwks_age_seconds", "Seconds since the key set was last fetched.", []],
  callBytes: [
    "tidewire_call_bytes",
    "Bytes of requests of gRPC and Connect that have not arrived completely.",
    [],
  ],
  outboxBytes: ["tidewire_outbox_bytes", "Bytes that wait for connections to drain.", []],
  sinkLeading: ["tidewire_sink_leading", "1 while this node runs the sink, else 0.", ["sink"]],
  sinkLag: [
    "tidewire_sink_lag_seconds",
    "Age of the oldest message of a sink that its target has not accepted, on the node that runs the sink.",
    ["sink"],
  ],
  sinkSpooledMessages: [
    "tidewire_sink_spooled_messages",
    "Messages of a sink that wait in the state database, on the node that runs the sink.",
    ["sink"],
  ],
  sinkSpooledBytes: [
    "tidewire_sink_spooled_bytes",
    "Bytes of messages of a sink that wait in the state database, on the node that runs the sink.",
    ["sink"],
  ],
  sinkParkedMessages: [
    "tidewire_sink_parked_messages",
    "Parked messages of a sink, on the node that runs the sink.",
    ["sink"],
  ],
  pushRegistrations: [
    "tidewire_push_registrations",
    "Push registrations that this process serves, by state.",
    ["state"],
  ],
  pushConfigured: ["tidewire_push_configured", "1 if push.vapid is set, else 0.", []],
  pushPartitions: [
    "tidewire_push_partitions",
    "Partitions of push registrations that this process serves, of 8.",
    [],
  ],
  pushWaiting: [
    "tidewire_push_waiting",
    "Pushes that no push service has accepted yet, at most one for each registration.",
    [],
  ],
  pushHeldBack: [
    "tidewire_push_held_back",
    "Pushes that are due and wait, because the requests to their host or for their user are at their limit.",
    ["by"],
  ],
  rulesGeneration: [
    "tidewire_rules_generation",
    "Generation of the rules in force; grows with each applied edit.",
    [],
  ],
  rulesBehind: [
    "tidewire_rules_behind",
    "1 while the node cannot apply the rule set in force and keeps an earlier one, else 0.",
    [],
  ],
  adminSessions: ["tidewire_admin_sessions", "Sessions of admins.", []],
  traces: ["tidewire_traces", "Traces of admins that run.", []],
  buildInfo: ["tidewire_build_info", "1, with the versions of Tidewire and of Node.", ["version", "node"]],
  workers: ["tidewire_workers", "Processes that serve clients.", []],
} as const;

const HISTOGRAMS = {
  deliveryLag: [
    "tidewire_delivery_lag_seconds",
    "From the server's wall time of a write to its delivery to clients that follow live.",
    [],
  ],
  acceptTime: ["tidewire_accept_seconds", "Time to match and deliver one batch of the change stream.", []],
  snapshotTime: ["tidewire_snapshot_read_seconds", "Time to read one snapshot from MongoDB.", []],
} as const;

/** How the values of several workers are combined, if not by their sum. */
const JOINED: Readonly<Record<string, Aggregator>> = {
  rulesReloads: "max",
  streamState: "min",
  streamDownSeconds: "max",
  streamSource: "max",
  collectionsRead: "max",
  tailConfigured: "max",
  pushConfigured: "max",
  tailBytes: "max",
  tailLag: "max",
  images: "min",
  jwksAge: "max",
  revocations: "max",
  revocationBytes: "max",
  historySeconds: "min",
  publishedHeadAge: "max",
  rulesGeneration: "min",
  rulesBehind: "max",
  buildInfo: "first",
  costliestLiveQuery: "max",
};

type Table = Record<string, readonly [name: string, help: string, labels: readonly string[]]>;
interface Options extends Pick<CounterConfiguration<string>, "name" | "help" | "labelNames" | "aggregator"> {
  /** Called before the value is read. */
  readonly collect: () => void;
}

/** Metrics computed on scrape, because each iterates over all connections or all live queries. */
type MeasuredOnScrape =
  | "bytesSent"
  | "sockets"
  | "pushRegistrations"
  | "pushHeldBack"
  | "callBytes"
  | "outboxBytes"
  | "streamDownSeconds"
  | "publishedHeadAge"
  | "windowDocuments"
  | "windowBytes";

/** Counts the changes of one collection by their type. */
export type ChangeTallies = Readonly<Record<"added" | "changed" | "removed", Tally>>;

/** Builds the registry. Each service has its own, so that several can run in one process. */
export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const measures = new Map<string, () => void>();
  const build = <T extends Table, M>(table: T, make: (options: Options) => M) =>
    // `fromEntries` loses the type of the keys; they are those of the table.
    Object.fromEntries(
      Object.entries(table).map(([key, [name, help, labels]]) => {
        const collect = () => measures.get(key)?.();
        return [
          key,
          make({ name, help, labelNames: [...labels], aggregator: JOINED[key] ?? "sum", collect }),
        ];
      }),
    ) as Record<keyof T, M>;
  const counters = build(COUNTERS, (options) => new Counter({ ...options, registers }));
  for (const [key, labels] of Object.entries(LABEL_VALUES))
    for (const values of combinationsOf(labels)) counters[key as keyof typeof counters].inc(values, 0);
  const { changes, changeEvents, deliveries } = counters;
  const tallied = <K extends string>(metric: string, byKey: Record<K, Tally>): Record<K, Tally> => {
    measures.set(metric, () => {
      for (const tally of Object.values<Tally>(byKey)) tally.publish();
    });
    return byKey;
  };
  const changesOf = new Map<string, ChangeTallies>();
  measures.set("changes", () => {
    for (const { added, changed, removed } of changesOf.values())
      for (const tally of [added, changed, removed]) tally.publish();
  });
  const changesBy = (collection: string): ChangeTallies => {
    const known = changesOf.get(collection);
    if (known !== undefined) return known;
    const tally = (type: string) => new Tally(changes.labels(collection, type));
    const tallies = { added: tally("added"), changed: tally("changed"), removed: tally("removed") };
    changesOf.set(collection, tallies);
    return tallies;
  };
  const gauges = build(GAUGES, (options) => new Gauge({ ...options, registers }));
  const histograms = build(
    HISTOGRAMS,
    (options) => new Histogram({ ...options, registers, buckets: SECONDS }),
  );
  for (const limit of LIMITS_WITH_SLOTS) gauges.limitWaiting.set({ limit }, 0);
  setBuild(gauges.buildInfo);
  for (const metric of processMetrics()) registry.registerMetric(metric);
  return {
    registry,
    /** Lets a part compute a metric just before it is read; one part for each metric. */
    onScrape: (metric: MeasuredOnScrape, measure: () => void): void => void measures.set(metric, measure),
    ...counters,
    deliveriesMade: tallied("deliveries", { all: new Tally(deliveries) }).all,
    /** The changes of one collection. A live query asks once, so that no change has to look up its labels. */
    changesBy,
    changeEventsBy: tallied("changeEvents", {
      insert: new Tally(changeEvents.labels("insert")),
      update: new Tally(changeEvents.labels("update")),
      replace: new Tally(changeEvents.labels("replace")),
      delete: new Tally(changeEvents.labels("delete")),
      "replaced-collection": new Tally(changeEvents.labels("replaced-collection")),
    }),
    ...gauges,
    ...histograms,
  };
}
/** Every metric of a process, by the name that the code uses. */
export type Metrics = ReturnType<typeof createMetrics>;
