/**
 * Clients that are wrong on purpose: the client of this package with one defect each, and the scenario of the kit that it
 * must fail. A defect changes what the client receives, sends or reports, so the kit sees what it would see of a client
 * that was written that way.
 */
import {
  askingAtOnce,
  breakingOffAt,
  deafTo,
  forgettingFences,
  isChange,
  isWhole,
  keepingAfterReset,
  keepingTicket,
  mixingIds,
  reading,
  resumingFrom,
  resumingFromPart,
  showingBatches,
  silentAbout,
  TYPES,
  takingCode,
  WELCOME,
  waitingForWelcome,
  without,
} from "./wrong-client.mjs";

const STALE = /"sent".*the client has sent/s;
const WRONG = /but MongoDB has/;
const EXPECTED = /"expect".*what the step expects/s;

/**
 * - `defect`: a clause about the client
 * - `scenario`: the name of the scenario that it must fail
 * - `fails`: the report of the kit; undefined if the client passes
 * - `make`: returns the changes for one client
 * - `patienceMs`: how long a client may take for a step at least, if that is long
 */
export const DEFECTS = [
  {
    defect: "has no defect",
    scenario: "joins the batches of a snapshot, and shows it when it is complete",
    fails: undefined,
    make: () => ({}),
  },
  {
    defect: "ends its connection at a message that it does not know",
    scenario: "ignores messages and fields that it does not know",
    fails: /"connections".*at most 1, not/s,
    make: breakingOffAt(({ type }) => !TYPES.has(type)),
  },
  {
    defect: "gives up after HTTP 503",
    scenario: "retries after HTTP 503 and 429 in answer to the upgrade",
    fails: /the status live of a/,
    make: () => ({ closed: (code, wasOpen) => (wasOpen ? code : 4400) }),
  },
  {
    defect: "waits for welcome before it subscribes",
    scenario: "sends hello and subscribe together, without waiting for welcome",
    fails: STALE,
    make: waitingForWelcome,
  },
  {
    defect: "shows a snapshot before its last batch",
    scenario: "joins the batches of a snapshot, and shows it when it is complete",
    fails: EXPECTED,
    make: showingBatches,
  },
  {
    defect: "ignores removed",
    scenario: "keeps the result through inserts, updates, replacements and deletes",
    fails: WRONG,
    make: deafTo(({ type }) => type === "removed"),
  },
  {
    defect: "ignores unset",
    scenario: "applies the differences of large documents",
    fails: WRONG,
    make: reading((message) => without(message, "unset")),
  },
  {
    defect: "takes ids of different types that look alike for the same",
    scenario: "tells ids of several types apart in ejson",
    fails: WRONG,
    make: mixingIds,
  },
  {
    defect: "adds each document at the end of a sorted result",
    scenario: "keeps a sorted result without a limit in order, with equal values by _id",
    fails: WRONG,
    make: reading((message) => (message.type === "added" ? { ...message, before: null } : message)),
  },
  {
    defect: "does not move the documents of a window",
    scenario: "keeps a window in order: documents enter, leave and move",
    fails: WRONG,
    make: reading((message) => (message.type === "changed" ? without(message, "before") : message)),
  },
  {
    defect: "ignores moved",
    scenario: "carries its documents on when the rights change and the service sends the difference",
    fails: WRONG,
    make: deafTo(({ start }) => start === "moved"),
  },
  {
    defect: "ignores shared",
    scenario: "shows one result for two equal queries of a connection",
    fails: /the status live of b/,
    make: deafTo(({ start }) => start === "shared"),
  },
  {
    defect: "keeps its documents after reset",
    scenario: "takes reset in the middle of a connection: the held documents are void",
    fails: EXPECTED,
    make: keepingAfterReset,
  },
  {
    defect: "resumes without its cursor",
    scenario: "resumes after a cut with cursor and ticket, and receives each missed change once",
    fails: STALE,
    make: () => ({ sent: (message) => [without(message, "cursor", "ticket")] }),
  },
  {
    defect: "resumes from the cursor of its snapshot, although changes have followed",
    scenario: "resumes after a cut with cursor and ticket, and receives each missed change once",
    fails: /the client has sent|the same change twice/,
    make: resumingFrom((message, cursor) => cursor ?? (isWhole(message) ? message.cursor : undefined)),
  },
  {
    defect: "resumes all queries from the newest cursor of any",
    scenario: "resumes each query from its own cursor",
    fails: WRONG,
    make: resumingFrom((message, cursor) => (isChange(message) ? message.cursor : cursor)),
  },
  {
    defect: "does not take the cursor of a watermark",
    scenario: "resumes from the cursor of the last watermark",
    fails: STALE,
    make: resumingFrom((message, cursor) =>
      isWhole(message) || isChange(message) ? message.cursor : cursor,
    ),
  },
  {
    defect: "resumes from a snapshot that is not complete",
    scenario: "sends no cursor if the connection was cut before its first snapshot was complete",
    fails: STALE,
    make: resumingFromPart("snapshot"),
  },
  {
    defect: "takes the cursor of a watermark in the middle of a snapshot",
    scenario: "sends no cursor if the connection was cut before its first snapshot was complete",
    fails: STALE,
    make: resumingFromPart("watermark"),
  },
  {
    defect: "keeps its ticket after reset",
    scenario: "takes reset in the middle of a connection: the held documents are void",
    fails: STALE,
    make: keepingTicket,
  },
  {
    defect: "connects again after a close code that forbids it",
    scenario: "stops after close code 4403",
    fails: EXPECTED,
    make: takingCode((code) => code >= 4400 && code < 4500),
  },
  {
    defect: "comes back without the pause that the service asked for",
    scenario: "waits after close code 4201 as long as retryAfterMs said",
    fails: /the client came back after/,
    make: takingCode((code) => code >= 4200 && code < 4300),
  },
  {
    defect: "never backs off",
    scenario:
      "waits between connections, and opens no more than 12 in a minute, however often they are closed",
    fails: /not over 3000 ms/,
    make: () => ({ options: { reconnect: { minMs: 0, maxMs: 0 } } }),
  },
  {
    defect: "starts its back-off over with each connection",
    scenario:
      "waits between connections, and opens no more than 12 in a minute, however often they are closed",
    fails: /not over 3000 ms/,
    make: () => ({ options: { reconnect: { stableAfterMs: 0 } } }),
  },
  {
    defect: "backs off, and opens connections without end",
    scenario:
      "waits between connections, and opens no more than 12 in a minute, however often they are closed",
    fails: /connections in a minute/,
    make: () => ({ options: { reconnect: { attemptsPerMinute: 1_000 } } }),
    patienceMs: 20_000,
  },
  {
    defect: "reports the changes that a resumption repeats",
    scenario: "skips the changes that a resumption repeats after a cut inside a transaction",
    fails: /the same change twice|but the application holds it/,
    make: reading((message) => (isChange(message) ? { ...message, unlikeAnyOther: Math.random() } : message)),
  },
  {
    defect: "waits for welcome without end",
    scenario: "drops a connection that is not welcomed within 15 seconds",
    fails: /"connections".*not within/s,
    make: () => ({ options: { connectTimeoutMs: 600_000 } }),
    patienceMs: 20_000,
  },
  {
    defect: "keeps a connection that is silent",
    scenario: "drops a connection that is silent for the heartbeat and ten seconds",
    fails: /"connections".*not within/s,
    make: () => ({ options: { silenceMs: 600_000 } }),
    patienceMs: 15_000,
  },
  {
    defect: "connects again with the token that has run out",
    scenario: "gets another token after close code 4100, and resumes",
    fails: /"tokensAsked".*not within/s,
    make: () => ({ keepsToken: true }),
  },
  {
    defect: "does not send a new token before the old one runs out",
    scenario: "refreshes its token before it expires, and stays connected",
    fails: STALE,
    make: silentAbout(({ type }) => type === "refresh"),
  },
  {
    defect: "ends its connection if a refresh is refused",
    scenario: "stays connected if a refresh is refused, because the old token stays in force",
    fails: /"connections".*at most 1, not 2/s,
    make: breakingOffAt(({ type, id }) => type === "error" && id === undefined),
  },
  {
    defect: "keeps its ticket after a refresh",
    scenario: "resumes with the tickets that follow a refresh",
    fails: STALE,
    make: deafTo(({ type }) => type === "tickets"),
  },
  {
    defect: "tries tokens without end",
    scenario: "tries three tokens without a welcome between them, and then stops",
    fails: EXPECTED,
    make: () => ({
      received: (message) => (message.code === "unauthenticated" ? [WELCOME, message] : [message]),
    }),
  },
  {
    defect: "stays on a node that drains",
    scenario: "leaves a node that drains before it is closed, and loses nothing",
    fails: /"ended".*ended by the service/s,
    make: deafTo(({ type }) => type === "draining"),
    patienceMs: 15_000,
  },
  {
    defect: "does not report that it is offline",
    scenario: "reports catching-up, live, offline, connecting and stopped",
    fails: EXPECTED,
    make: () => ({ reports: (status) => status !== "offline" }),
  },
  {
    defect: "never unsubscribes",
    scenario: "ends a query, and keeps the other ones of the connection",
    fails: STALE,
    make: silentAbout(({ type }) => type === "unsubscribe"),
  },
  {
    defect: "shows documents after their right was withdrawn",
    scenario: "stops and shows nothing after its right was withdrawn",
    fails: EXPECTED,
    make: () => ({ keepsShowing: true }),
  },
  {
    defect: "keeps the documents of a query that ends for a reason that it does not know",
    scenario: "hides the documents of a query that ends for a reason that it does not know",
    fails: EXPECTED,
    make: reading((message) =>
      message.type === "unsubscribed" ? { ...message, reason: "config" } : message,
    ),
  },
  {
    defect: "ignores the refusal of a query",
    scenario: "stops after a refusal that a retry cannot change",
    fails: EXPECTED,
    make: deafTo(({ type, id }) => type === "error" && id !== undefined),
  },
  {
    defect: "asks again at once after a refusal",
    scenario: "asks again on the same connection after a refusal that passes",
    fails: /less than 190 ms apart/,
    make: askingAtOnce,
  },
  {
    defect: "goes on sending requests before welcome to a service that takes none",
    scenario: "sends its requests after welcome if the service takes none before it",
    fails: STALE,
    make: takingCode((code) => code === 4400),
  },
  {
    defect: "does not wait for its fence",
    scenario: "answers a fence after the changes before it",
    fails: WRONG,
    make: () => ({ answersAtOnce: true }),
  },
  {
    defect: "forgets a fence with its connection",
    scenario: "sends an unanswered fence again on the next connection",
    fails: /the answer to the fence/,
    make: forgettingFences,
  },
];
