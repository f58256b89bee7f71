/** The counters of the service: their names, their texts, and the values of their labels. */

/**
 * Every counter of the service, in the order of the data flow. Units are bytes and seconds, as is usual for Prometheus.
 * No label ever holds a value that came from a client or a document.
 */
export const COUNTERS = {
  changeEvents: ["tidewire_change_events_total", "Change events read from MongoDB.", ["operation"]],
  changesSkipped: [
    "tidewire_changes_skipped_total",
    "Change events of collections that nobody follows, which arrived and were not decoded.",
    [],
  ],
  streamOpens: ["tidewire_stream_opens_total", "Times the change stream was opened.", []],
  streamErrors: ["tidewire_stream_errors_total", "Errors of the change stream, by kind.", ["kind"]],
  positionLost: [
    "tidewire_position_lost_total",
    "Times the change stream position was lost and everything was reset.",
    [],
  ],
  tailSwitches: [
    "tidewire_tail_switches_total",
    "Times the node began to read the shared tail or MongoDB, by reason.",
    ["to", "reason"],
  ],
  tailFailedJoins: [
    "tidewire_tail_failed_joins_total",
    "Looks at the shared tail, and attempts to read it, that failed, by reason.",
    ["reason"],
  ],
  tailEntries: [
    "tidewire_tail_appended_entries_total",
    "Entries that this node appended to the shared tail.",
    [],
  ],
  tailAppendedBytes: [
    "tidewire_tail_appended_bytes_total",
    "Bytes that this node appended to the shared tail.",
    [],
  ],
  checkpoints: [
    "tidewire_checkpoints_total",
    "Checkpoints saved by this process, or found saved by another one.",
    [],
  ],
  checkpointErrors: ["tidewire_checkpoint_errors_total", "Checkpoints that could not be saved.", []],
  imagesMissing: [
    "tidewire_images_missing_total",
    "Change events that lacked a required image, which was read at the time of the event instead.",
    [],
  ],
  imagesUnreadable: [
    "tidewire_images_unreadable_total",
    "Change events whose image could not be read either: their live queries started over.",
    [],
  ],
  historyEvicted: [
    "tidewire_history_evicted_total",
    "Commits evicted from the history, by reason: its window or its bytes.",
    ["reason"],
  ],
  changes: [
    "tidewire_changes_total",
    "Changes of live queries, before they are multiplied by subscribers.",
    ["collection", "type"],
  ],
  changesMerged: [
    "tidewire_changes_merged_total",
    "Changes of rows of aggregates that were merged with a later change of the same row, and not sent.",
    [],
  ],
  deliveries: ["tidewire_deliveries_total", "Changes handed to connections.", []],
  snapshots: ["tidewire_snapshots_total", "Snapshots, by how they were served.", ["collection", "served"]],
  indexChecks: [
    "tidewire_index_checks_total",
    "Snapshots under a rule with allow.requireIndex, by outcome of the index check.",
    ["outcome"],
  ],
  matchSeconds: [
    "tidewire_match_seconds_total",
    "Processor time spent on matching commits to live queries, and on deciding about rights.",
    [],
  ],
  subscriptionStarts: ["tidewire_subscription_starts_total", "Subscriptions, by start.", ["start"]],
  nowMoves: ["tidewire_now_moves_total", "Subscriptions that a step of %%now moved or ended.", []],
  resets: ["tidewire_resets_total", "Resets of active subscriptions.", ["reason"]],
  catchUps: ["tidewire_catch_ups_total", "Catch-ups, by source: history or oplog.", ["from"]],
  catchUpsGaveWay: [
    "tidewire_catch_ups_gave_way_total",
    "Times that a change stream for catch-up was closed after limits.catchUpTurn, because other catch-ups waited.",
    [],
  ],
  lagged: ["tidewire_lagged_total", "Times a connection did not drain and was taken off live delivery.", []],
  sinkDelivered: [
    "tidewire_sink_delivered_total",
    "Messages that the target of a sink has accepted.",
    ["sink"],
  ],
  sinkFailed: [
    "tidewire_sink_failed_total",
    "Attempts to deliver one message that the target of a sink has refused.",
    ["sink"],
  ],
  sinkParked: [
    "tidewire_sink_parked_total",
    "Messages of a sink that were given up after the last attempt.",
    ["sink"],
  ],
  sinkLost: [
    "tidewire_sink_lost_total",
    "Messages of a sink that had to wait and were too large for the state database.",
    ["sink"],
  ],
  sinkResets: [
    "tidewire_sink_resets_total",
    "Times a sink began again because changes were missing, by reason.",
    ["sink", "reason"],
  ],
  connectionsOpened: [
    "tidewire_connections_opened_total",
    "Connections that received welcome.",
    ["transport"],
  ],
  connectionsRefused: [
    "tidewire_connections_refused_total",
    "Connections refused before welcome.",
    ["reason"],
  ],
  socketsRefused: [
    "tidewire_sockets_refused_total",
    "Sockets closed before they sent a whole request, or because they were too many, by reason.",
    ["reason"],
  ],
  snapshotsShed: [
    "tidewire_snapshots_shed_total",
    "Snapshots that lost the batches that were sent already, because all together passed limits.snapshotBytes.",
    [],
  ],
  compressionBytes: [
    "tidewire_compression_bytes_total",
    "Bytes of messages that were compressed for all clients together, before (in) and after (out).",
    ["stage"],
  ],
  adminBusy: [
    "tidewire_admin_busy_total",
    "Requests of admins that were refused because others of their kind were running, by operation.",
    ["operation"],
  ],
  nameDocuments: [
    "tidewire_admin_name_documents_total",
    "Documents that were read for the names of fields in the editor of rules.",
    [],
  ],
  adminRefused: [
    "tidewire_admin_refused_total",
    "Requests that the admin listener refused because of their sender, by reason.",
    ["reason"],
  ],
  traceEvents: [
    "tidewire_trace_events_total",
    "Change events that concern the subject of a trace, by outcome.",
    ["outcome"],
  ],
  adminSessionsEnded: [
    "tidewire_admin_sessions_ended_total",
    "Sessions of admins that a limit has ended, by the limit.",
    ["limit"],
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
    "Tokens refused, by reason; of connections, refreshes and HTTP requests.",
    ["reason"],
  ],
  urlKeys: [
    "tidewire_url_keys_total",
    "Keys for EventSource, by outcome: issued, used, used again by a reconnection, refused, or evicted because their user holds too many.",
    ["outcome"],
  ],
  ruleFailures: [
    "tidewire_rule_failures_total",
    "Rules that could not be evaluated for a user, who was refused; a bug, logged as such.",
    [],
  ],
  messagesReceived: ["tidewire_messages_received_total", "Client messages.", ["type"]],
  earlyMessages: [
    "tidewire_early_messages_total",
    "Client messages that arrived before welcome and waited for it.",
    [],
  ],
  messagesUnread: [
    "tidewire_messages_unread_total",
    "Client messages refused before their fields were read, by reason.",
    ["reason"],
  ],
  presenceWrites: [
    "tidewire_presence_writes_total",
    "Entries of presence that were written or deleted, by operation.",
    ["operation"],
  ],
  presenceLeft: [
    "tidewire_presence_left_total",
    "Entries of presence that this node ended, by reason.",
    ["reason"],
  ],
  errorsSent: ["tidewire_errors_sent_total", "Errors sent to clients.", ["code"]],
  unexpectedErrors: [
    "tidewire_unexpected_errors_total",
    "Unexpected errors that were contained, by where they were caught.",
    ["where"],
  ],
  bytesSent: ["tidewire_sent_bytes_total", "Bytes handed to sockets.", []],
  pushes: [
    "tidewire_pushes_total",
    "Changes of push registrations, by outcome: accepted by the push service, collapsed into a later one, skipped because the user is connected, withdrawn with the rights, retried, dropped after too many attempts, refused by the push service, or gone with the browser's subscription.",
    ["outcome"],
  ],
  pushRemoved: [
    "tidewire_push_removed_total",
    "Push registrations that were removed, by reason.",
    ["reason"],
  ],
  pushResets: [
    "tidewire_push_resets_total",
    "Times a push registration could not continue where it was and began at the head.",
    [],
  ],
  recordedRequests: [
    "tidewire_recorded_requests_total",
    "Requests recorded for replays, by outcome.",
    ["outcome"],
  ],
  rulesReloads: ["tidewire_rules_reloads_total", "Edits of the configuration, by outcome.", ["outcome"]],
  jwksFetches: ["tidewire_jwks_fetches_total", "Fetches of the key set, by outcome.", ["outcome"]],
  workerRestarts: [
    "tidewire_worker_restarts_total",
    "Workers that exited unexpectedly and were restarted.",
    [],
  ],
} as const;

/**
 * All values of the labels of a counter, where the code knows them. Such a counter begins at 0 under each of them: a series
 * that is absent until its first increment hides that increment from `increase()` and `rate()` of Prometheus.
 */
export const LABEL_VALUES = {
  changeEvents: { operation: ["insert", "update", "replace", "delete", "replaced-collection"] },
  streamErrors: { kind: ["position-lost", "resumable"] },
  tailSwitches: {
    to: ["mongodb", "tail"],
    reason: [
      ...["start", "returned", "collections", "stream-failed", "behind", "gap", "trimmed", "silent", "slow"],
      ...["stale-member", "unreadable", "unreachable", "no-answer", "refused"],
    ],
  },
  tailFailedJoins: {
    reason: [
      ...["behind", "gap", "trimmed", "silent", "slow", "stale-member", "unreadable", "unreachable"],
      ...["no-answer", "refused"],
    ],
  },
  historyEvicted: { reason: ["bytes", "window"] },
  indexChecks: { outcome: ["served", "cached", "refused", "failed"] },
  subscriptionStarts: { start: ["snapshot", "resumed", "live", "shared", "reset", "moved"] },
  resets: { reason: ["history-lost", "lagged"] },
  catchUps: { from: ["history", "oplog"] },
  connectionsOpened: { transport: ["ws", "sse", "poll", "socketio", "grpc", "sink", "push"] },
  connectionsRefused: {
    reason: [
      ...[
        "path",
        "host",
        "origin",
        "subprotocol",
        "connect-rate",
        "user-limit",
        "node-full",
        "address-limit",
      ],
      ...["workers-busy", "key", "token-missing", "token-invalid", "token-expired", "token-not-yet-valid"],
      ...["token-key-unknown", "token-revoked", "token-claims-bytes", "token-claims-depth"],
      ...["token-claims-values", "token-claims-unusable"],
    ],
  },
  socketsRefused: {
    reason: [
      ...["node-full", "address-limit", "evicted", "request-timeout", "tls-timeout", "inactive"],
      ...["pipelining", "call-rate"],
    ],
  },
  compressionBytes: { stage: ["in", "out"] },
  adminRefused: { reason: ["host", "origin", "token", "token-rate", "issuer", "csrf", "role"] },
  traceEvents: { outcome: ["recorded", "skipped", "dropped"] },
  adminSessionsEnded: { limit: ["sessions", "sessionsPerAdmin"] },
  connectionsClosed: {
    code: [
      ...["1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009", "1010", "1011", "1012"],
      ...["1013", "1014", "1015", "4000", "4001", "4002", "4003", "4100", "4101", "4102", "4200", "4201"],
      ...["4202", "4400", "4401", "4403", "4408", "4429", "other"],
    ],
  },
  limitHits: {
    limit: [
      ...["subscriptionsPerUser", "liveQueriesPerUser", "userRequestBytes", "userWindowBytes"],
      ...["filterWorkPerUser", "workPerUser", "windowBytes", "controlFrames", "refreshesPerMinute"],
      ...["earlyMessages", "userRequestsPerSecond", "pushPerUser", "pushRegistrations"],
      ...["lookupValues", "lookupBytes", "userRefreshesPerMinute"],
    ],
    outcome: ["refused", "ended"],
  },
  tokensRefused: {
    reason: [
      ...["missing", "invalid", "expired", "not-yet-valid", "key-unknown", "revoked", "claims-bytes"],
      ...["claims-depth", "claims-values", "claims-unusable"],
    ],
  },
  urlKeys: { outcome: ["issued", "used", "used-again", "refused", "evicted"] },
  messagesReceived: {
    type: ["hello", "subscribe", "unsubscribe", "refresh", "fence", "enter", "leave", "ping"],
  },
  presenceWrites: { operation: ["put", "delete"] },
  presenceLeft: { reason: ["requested", "expired", "forbidden", "lost"] },
  messagesUnread: { reason: ["bytes", "depth", "nodes", "malformed", "binary", "frame"] },
  errorsSent: {
    code: [
      ...["bad-request", "bad-filter", "unauthenticated", "forbidden", "unknown-collection", "duplicate-id"],
      ...["unknown-id", "too-many-subscriptions", "too-many-requests", "snapshot-too-large", "unavailable"],
      "internal",
    ],
  },
  pushes: {
    outcome: [...["accepted", "collapsed", "skipped", "withdrawn", "retried", "dropped", "refused", "gone"]],
  },
  pushRemoved: { reason: ["deleted", "expired", "gone", "revoked"] },
  recordedRequests: { outcome: ["saved", "dropped"] },
  rulesReloads: { outcome: ["applied", "rejected"] },
  jwksFetches: { outcome: ["changed", "failed", "expired"] },
} as const satisfies Partial<Record<keyof typeof COUNTERS, Readonly<Record<string, readonly string[]>>>>;

/** Every combination of values of the labels. */
export function combinationsOf(
  labels: Readonly<Record<string, readonly string[]>>,
): Record<string, string>[] {
  return Object.entries(labels).reduce<Record<string, string>[]>(
    (known, [label, values]) => known.flatMap((some) => values.map((value) => ({ ...some, [label]: value }))),
    [{}],
  );
}
