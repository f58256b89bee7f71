import { type Aggregator, Counter, type CounterConfiguration, Gauge, Histogram, Registry } from "prom-client";

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/**
 * Every metric of the service, in the order in which data passes. Bytes and seconds, as Prometheus has it;
 * no label ever holds a value that a client or a document brought.
 */
const COUNTERS = {
  changeEvents: ["tidewire_change_events_total", "Change events read from MongoDB.", ["operation"]],
  streamOpens: ["tidewire_stream_opens_total", "Times the change stream was opened.", []],
  streamErrors: ["tidewire_stream_errors_total", "Errors of the change stream, by what they mean.", ["kind"]],
  placeLost: [
    "tidewire_place_lost_total",
    "Times the position in the change stream was lost: everything was reset.",
    [],
  ],
  checkpoints: ["tidewire_checkpoints_total", "Checkpoints saved.", []],
  checkpointErrors: ["tidewire_checkpoint_errors_total", "Checkpoints that could not be saved.", []],
  imagesMissing: [
    "tidewire_images_missing_total",
    "Change events without an image that they need; it was read at the event's time instead.",
    [],
  ],
  imagesUnreadable: [
    "tidewire_images_unreadable_total",
    "Change events whose image could not be read either: their live queries were started over.",
    [],
  ],
  historyEvicted: [
    "tidewire_history_evicted_total",
    "Commits dropped from the history for its window or its bytes.",
    ["reason"],
  ],
  changes: [
    "tidewire_changes_total",
    "Changes of live queries, before they are multiplied by subscribers.",
    ["type"],
  ],
  deliveries: ["tidewire_deliveries_total", "Changes handed to connections.", []],
  snapshots: ["tidewire_snapshots_total", "Snapshots by how they were served.", ["served"]],
  indexChecks: [
    "tidewire_index_checks_total",
    "Snapshots under a rule with allow.requireIndex, by what is known of the index.",
    ["outcome"],
  ],
  matchSeconds: [
    "tidewire_match_seconds_total",
    "Processor time spent on matching commits to live queries.",
    [],
  ],
  subscriptionStarts: ["tidewire_subscription_starts_total", "Subscriptions by how they started.", ["start"]],
  nowMoves: ["tidewire_now_moves_total", "Subscriptions that a step of %%now moved or ended.", []],
  resets: ["tidewire_resets_total", "Resets sent on running subscriptions.", ["reason"]],
  catchUps: ["tidewire_catch_ups_total", "Catch-ups by where they read from.", ["from"]],
  lagged: ["tidewire_lagged_total", "Times a connection did not drain and was taken off live delivery.", []],
  connectionsOpened: ["tidewire_connections_opened_total", "Connections that were welcomed.", ["transport"]],
  connectionsRefused: [
    "tidewire_connections_refused_total",
    "Connections refused before they were welcomed.",
    ["reason"],
  ],
  socketsRefused: [
    "tidewire_sockets_refused_total",
    "Sockets closed before they sent a whole request, or because they were too many, by reason.",
    ["reason"],
  ],
  adminRefused: [
    "tidewire_admin_refused_total",
    "Requests that the admin listener refused for who asked, by reason.",
    ["reason"],
  ],
  connectionsClosed: [
    "tidewire_connections_closed_total",
    "Connections that ended, by close code.",
    ["code"],
  ],
  limitHits: [
    "tidewire_limit_hits_total",
    "Requests refused, and subscriptions ended, by a limit of their user or of the node.",
    ["limit", "outcome"],
  ],
  tokensRefused: [
    "tidewire_tokens_refused_total",
    "Tokens that were refused, by reason; of connections, refreshes and HTTP requests.",
    ["reason"],
  ],
  ruleFailures: [
    "tidewire_rule_failures_total",
    "Rules that could not be evaluated for a user, who was refused; a bug, logged as such.",
    [],
  ],
  messagesReceived: ["tidewire_messages_received_total", "Messages of clients.", ["type"]],
  messagesUnread: [
    "tidewire_messages_unread_total",
    "Messages of clients that were refused before their fields were read, by what was wrong.",
    ["reason"],
  ],
  errorsSent: ["tidewire_errors_sent_total", "Errors told to clients.", ["code"]],
  unexpectedErrors: [
    "tidewire_unexpected_errors_total",
    "Errors that nobody expected and that were contained, by where they were caught.",
    ["where"],
  ],
  bytesSent: ["tidewire_sent_bytes_total", "Bytes handed to sockets.", []],
  rulesReloads: ["tidewire_rules_reloads_total", "Edits of the configuration, by outcome.", ["outcome"]],
  jwksFetches: ["tidewire_jwks_fetches_total", "Fetches of the key set, by outcome.", ["outcome"]],
  workerRestarts: ["tidewire_worker_restarts_total", "Workers started again after they had ended.", []],
} as const;

const GAUGES = {
  streamState: ["tidewire_stream_up", "1 while the change stream is being read, else 0.", []],
  streamDownSeconds: [
    "tidewire_stream_down_seconds",
    "How long the change stream has been down, under the reason of its last failure; 0 while it is up.",
    ["reason"],
  ],
  images: [
    "tidewire_images",
    "1 where a collection's images are on, 0 where documents are read at the time of each event.",
    ["collection"],
  ],
  historyCommits: ["tidewire_history_commits", "Commits in the history.", []],
  historyBytes: ["tidewire_history_bytes", "Bytes of change events in the history.", []],
  historySeconds: ["tidewire_history_seconds", "How far back the history reaches.", []],
  changeLogBytes: [
    "tidewire_change_log_bytes",
    "Bytes that live queries hold of which commit changed what.",
    [],
  ],
  encodeCacheBytes: [
    "tidewire_encode_cache_bytes",
    "Bytes of documents and texts that are remembered for a moment while changes are encoded.",
    [],
  ],
  encodedBytes: ["tidewire_encoded_bytes", "Bytes of encoded changes kept for catch-up.", []],
  snapshotCacheBytes: [
    "tidewire_snapshot_cache_bytes",
    "Bytes of snapshots being sent or kept for newcomers.",
    [],
  ],
  snapshotReads: ["tidewire_snapshot_reads", "Snapshots being read from MongoDB now.", []],
  catchUpStreams: ["tidewire_catch_up_streams", "Extra change streams open for catch-up now.", []],
  liveQueries: ["tidewire_live_queries", "Live queries.", []],
  lingeringLiveQueries: [
    "tidewire_lingering_live_queries",
    "Live queries that nobody follows now, kept for a moment.",
    [],
  ],
  windowDocuments: ["tidewire_window_documents", "Documents that windows of sorted live queries track.", []],
  windowBytes: [
    "tidewire_window_bytes",
    "Bytes of sort keys, and of the few documents beyond the limit, that windows hold.",
    [],
  ],
  windowReadBytes: ["tidewire_window_read_bytes", "Bytes of sorted results that are being read or sent.", []],
  dearestLiveQuery: [
    "tidewire_dearest_live_query_seconds",
    "Mean time for one commit of the live query that takes longest, of those that took any lately.",
    [],
  ],
  lookupSets: ["tidewire_lookup_sets", "Lookup sets of rules that are kept up to date.", []],
  lookupValues: ["tidewire_lookup_values", "Values in all lookup sets.", []],
  lostRights: [
    "tidewire_lost_rights",
    "Rights lost by newer tokens that are remembered, one for each user and collection.",
    [],
  ],
  lostRightsUnsaved: [
    "tidewire_lost_rights_unsaved",
    "Rights lost by newer tokens that other nodes cannot know of yet.",
    [],
  ],
  subscriptions: ["tidewire_subscriptions", "Subscriptions of all connections.", []],
  sockets: ["tidewire_sockets", "Open sockets of the public listener, with or without a request yet.", []],
  connections: ["tidewire_connections", "Connections.", []],
  userAccounts: ["tidewire_user_accounts", "Users to whom something is charged on this node.", []],
  revocations: ["tidewire_revocations", "Revocations in force.", []],
  revocationBytes: ["tidewire_revocation_bytes", "Bytes of revocations in memory.", []],
  jwksAge: ["tidewire_jwks_age_seconds", "Seconds since the key set was last fetched.", []],
  outboxBytes: ["tidewire_outbox_bytes", "Bytes that wait for connections to drain.", []],
  rulesGeneration: [
    "tidewire_rules_generation",
    "Generation of the rules in force; grows with each edit that was applied.",
    [],
  ],
  workers: ["tidewire_workers", "Processes that serve clients.", []],
} as const;

const HISTOGRAMS = {
  deliveryLag: ["tidewire_delivery_lag_seconds", "From the server's date of a write to its delivery.", []],
  acceptTime: ["tidewire_accept_seconds", "Time to match and deliver one batch of the change stream.", []],
  snapshotTime: ["tidewire_snapshot_read_seconds", "Time to read one snapshot from MongoDB.", []],
} as const;

/** How what several workers count becomes one number, where that is not the sum. */
const JOINED: Readonly<Record<string, Aggregator>> = {
  rulesReloads: "max",
  streamState: "min",
  streamDownSeconds: "max",
  images: "min",
  jwksAge: "max",
  revocations: "max",
  revocationBytes: "max",
  historySeconds: "min",
  rulesGeneration: "min",
  dearestLiveQuery: "max",
};

type Table = Record<string, readonly [name: string, help: string, labels: readonly string[]]>;
interface Options extends Pick<CounterConfiguration<string>, "name" | "help" | "labelNames" | "aggregator"> {
  /** Called before the value is read. */
  readonly collect: () => void;
}

/** What is worked out when somebody looks: it takes a look at every connection, or at every live query. */
export type OnScrape = {
  [key in
    | "bytesSent"
    | "sockets"
    | "outboxBytes"
    | "streamDownSeconds"
    | "windowDocuments"
    | "windowBytes"]?: () => void;
};

/** Builds the registry; one per service, so that several can run in one process. */
export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const onScrape: OnScrape = {};
  const build = <T extends Table, M>(table: T, make: (options: Options) => M) =>
    // `fromEntries` forgets the keys; they are those of the table.
    Object.fromEntries(
      Object.entries(table).map(([key, [name, help, labels]]) => {
        const collect = () => onScrape[key as keyof OnScrape]?.();
        return [
          key,
          make({ name, help, labelNames: [...labels], aggregator: JOINED[key] ?? "sum", collect }),
        ];
      }),
    ) as Record<keyof T, M>;
  const counters = build(COUNTERS, (options) => new Counter({ ...options, registers }));
  const { changes, changeEvents } = counters;
  return {
    registry,
    onScrape,
    ...counters,
    /** Found once: to look a label up costs more than to count, and these are counted for every change. */
    changesBy: {
      added: changes.labels("added"),
      changed: changes.labels("changed"),
      removed: changes.labels("removed"),
    },
    changeEventsBy: {
      insert: changeEvents.labels("insert"),
      update: changeEvents.labels("update"),
      replace: changeEvents.labels("replace"),
      delete: changeEvents.labels("delete"),
      "replaced-collection": changeEvents.labels("replaced-collection"),
    },
    ...build(GAUGES, (options) => new Gauge({ ...options, registers })),
    ...build(HISTOGRAMS, (options) => new Histogram({ ...options, registers, buckets: SECONDS })),
  };
}
export type Metrics = ReturnType<typeof createMetrics>;
