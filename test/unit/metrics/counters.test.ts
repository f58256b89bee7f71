/** Counters begin at 0, so that Prometheus sees the first increment of each. */
import { expect, test } from "vitest";
import type { AdminRefusalReason } from "../../../src/admin/access/admin-access.ts";
import type { KeysEvent } from "../../../src/auth/jwks-keys.ts";
import type { TokenReason } from "../../../src/auth/verify-token.ts";
import type { AccountLimit } from "../../../src/feed/account.ts";
import { closeCodeLabel } from "../../../src/gateway/connection/close-code-label.ts";
import type { Transport } from "../../../src/gateway/connection/transport.ts";
import type { SocketRefusal } from "../../../src/gateway/http/socket-guard.ts";
import { COUNTERS, LABEL_VALUES } from "../../../src/metrics/counters.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { ERROR_CODES } from "../../../src/protocol/errors.ts";
import type { ClientMessage, Start } from "../../../src/protocol/messages.ts";
import type { StreamEvent } from "../../../src/source/change-event.ts";
import type { StreamFailure } from "../../../src/source/stream-errors.ts";
import { SWITCH_REASONS } from "../../../src/source/stream-supply.ts";
import { TAIL_LOSSES } from "../../../src/source/tail/tail-stream.ts";

/**
 * Values that only the running service knows: names of collections, sinks and operations, and the many places of a
 * guard.
 */
const UNKNOWN_BEFOREHAND = [
  "changes",
  "snapshots",
  "adminBusy",
  "unexpectedErrors",
  "sinkDelivered",
  "sinkFailed",
  "sinkParked",
  "sinkLost",
  "sinkResets",
];

/** The compiler refuses a record that lacks a value of the type, or has another one. */
const all = <T extends string>(values: Record<T, true>) => Object.keys(values);

const TOKEN_REASONS = all<TokenReason>({
  missing: true,
  invalid: true,
  expired: true,
  "not-yet-valid": true,
  "key-unknown": true,
  revoked: true,
  "claims-bytes": true,
  "claims-depth": true,
  "claims-values": true,
  "claims-unusable": true,
});

test.each<[metric: keyof typeof LABEL_VALUES, label: string, values: readonly string[]]>([
  [
    "changeEvents",
    "operation",
    all<StreamEvent["operation"]>({
      insert: true,
      update: true,
      replace: true,
      delete: true,
      "replaced-collection": true,
    }),
  ],
  ["streamErrors", "kind", all<StreamFailure>({ "position-lost": true, resumable: true })],
  ["tailSwitches", "reason", SWITCH_REASONS],
  ["tailFailedJoins", "reason", TAIL_LOSSES],
  [
    "subscriptionStarts",
    "start",
    all<Start>({ snapshot: true, resumed: true, live: true, shared: true, reset: true, moved: true }),
  ],
  [
    "connectionsOpened",
    "transport",
    all<Transport["kind"]>({
      ws: true,
      sse: true,
      poll: true,
      socketio: true,
      grpc: true,
      sink: true,
      push: true,
    }),
  ],
  [
    "socketsRefused",
    "reason",
    all<SocketRefusal>({
      "node-full": true,
      "address-limit": true,
      evicted: true,
      "request-timeout": true,
      "tls-timeout": true,
      inactive: true,
      pipelining: true,
      "call-rate": true,
    }),
  ],
  [
    "adminRefused",
    "reason",
    all<AdminRefusalReason>({
      host: true,
      origin: true,
      token: true,
      "token-rate": true,
      issuer: true,
      csrf: true,
      role: true,
    }),
  ],
  ["tokensRefused", "reason", TOKEN_REASONS],
  [
    "messagesReceived",
    "type",
    all<ClientMessage["type"]>({
      hello: true,
      subscribe: true,
      unsubscribe: true,
      refresh: true,
      fence: true,
      enter: true,
      leave: true,
      ping: true,
    }),
  ],
  ["errorsSent", "code", Object.keys(ERROR_CODES)],
  ["jwksFetches", "outcome", all<KeysEvent["type"]>({ changed: true, failed: true, expired: true })],
])("the values of %s by %s are those of the code", (metric, label, values) => {
  const known: Readonly<Record<string, readonly string[]>> = LABEL_VALUES[metric];
  expect([...(known[label] ?? [])].sort()).toEqual([...values].sort());
});

test("limits of users, reasons of refused tokens and close codes are values of their counters", () => {
  const limits = all<AccountLimit>({
    subscriptionsPerUser: true,
    liveQueriesPerUser: true,
    userRequestBytes: true,
    userWindowBytes: true,
    filterWorkPerUser: true,
    workPerUser: true,
  });
  expect(LABEL_VALUES.limitHits.limit).toEqual(expect.arrayContaining(limits));
  const refusals = TOKEN_REASONS.map((reason) => `token-${reason}`);
  expect(LABEL_VALUES.connectionsRefused.reason).toEqual(expect.arrayContaining(refusals));
  const codes = Array.from({ length: 4_000 }, (_, n) => closeCodeLabel(1_000 + n));
  expect([...new Set([...codes, closeCodeLabel(null)])].sort()).toEqual(
    [...LABEL_VALUES.connectionsClosed.code].sort(),
  );
});

test.each(Object.entries(COUNTERS).filter(([, [, , labels]]) => labels.length > 0))(
  "%s begins at 0 under each combination of its labels",
  async (key, [name, , labels]) => {
    const { values } = await createMetrics().registry.getSingleMetric(name)!.get();
    const known = Object.entries(LABEL_VALUES).find(([metric]) => metric === key)?.[1];
    if (known === undefined) {
      expect(UNKNOWN_BEFOREHAND).toContain(key);
      return;
    }
    expect(Object.keys(known)).toEqual(labels);
    const combinations = Object.values<readonly string[]>(known).reduce(
      (product, { length }) => product * length,
      1,
    );
    expect(values.map(({ value }) => value)).toEqual(Array(combinations).fill(0));
  },
);
