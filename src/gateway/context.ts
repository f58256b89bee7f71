/** The dependencies of connections, collected in one object that is built once per node. */
import type { Logger } from "pino";
import type { AuthOptions } from "../auth/options.ts";
import type { Feed } from "../feed/feed.ts";
import type { FeedLimits } from "../feed/options.ts";
import type { SharedCompression } from "../feed/shared-compression.ts";
import type { TicketSealer } from "../feed/ticket.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { RuleSet } from "../rules/compile-rules.ts";
import type { ParsedRequests } from "../rules/parsed-requests.ts";
import type { ClientTrace } from "./client-trace.ts";
import type { GatewayLimits } from "./limits.ts";
import type { ServerOptions } from "./options.ts";
import type { Presence } from "./presence.ts";
import type { Refusals } from "./refusals.ts";
import type { LostRights } from "./rights/lost-rights.ts";
import type { RequestRecorder } from "./rights/request-recorder.ts";
import type { RuleClock } from "./rights/rule-clock.ts";
import type { RuleTimes } from "./rights/rule-times.ts";
import type { RulesAhead } from "./rights/rules-ahead.ts";
import type { TermsOptions } from "./rights/ticket-terms.ts";
import type { Trust } from "./rights/trust.ts";
import type { UrlKeys } from "./rights/url-keys.ts";

/** The parts of a node that every connection uses. */
export interface GatewayContext {
  /** The opaque id by which clients know the node. */
  readonly node: string;
  readonly server: ServerOptions;
  readonly limits: GatewayLimits & FeedLimits;
  readonly auth: AuthOptions;
  readonly trust: Trust;
  readonly feed: Feed;
  readonly sealer: TicketSealer;
  /** How long tickets are valid. */
  readonly ticketTerms: TermsOptions;
  readonly lostRights: LostRights;
  readonly urlKeys: UrlKeys;
  /** `null` if messages are not compressed. */
  readonly compression: SharedCompression | null;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly refusals: Refusals;
  /** The rules in force. An edit replaces the whole set. */
  rules: RuleSet;
  /** The requests of all clients, parsed. */
  readonly requests: ParsedRequests;
  readonly ruleTimes: RuleTimes;
  /** `null` if the rules come from a file. */
  readonly rulesAhead: RulesAhead | null;
  /** `null` if requests are not recorded. */
  readonly recorder: RequestRecorder | null;
  /** The rooms in which users are; `null` without the section `presence`. It is set once, before the first client. */
  presence: Presence | null;
  /** Observes clients while an admin follows one; `null` while nobody traces. */
  trace: ClientTrace | null;
  /** The clock of `%%now`. */
  readonly clock: RuleClock;
}
