import { createRequire } from "node:module";
import { toleranceOf } from "../auth/options.ts";
import type { Config } from "../config/config.ts";
import { SharedCompression } from "../feed/shared-compression.ts";
import { TicketSealer } from "../feed/ticket.ts";
import type { GatewayContext } from "../gateway/context.ts";
import type { OptionalTransports } from "../gateway/endpoints.ts";
import { Refusals } from "../gateway/refusals.ts";
import { LostRights, type LostRightsStore } from "../gateway/rights/lost-rights.ts";
import { RequestRecorder, type SaveRequests } from "../gateway/rights/request-recorder.ts";
import { RuleClock } from "../gateway/rights/rule-clock.ts";
import { Trust } from "../gateway/rights/trust.ts";
import { type UrlKeyParts, UrlKeys } from "../gateway/rights/url-keys.ts";
import type { SocketIoOptions } from "../gateway/socketio/socketio-endpoint.ts";
import { compileRules } from "../rules/compile-rules.ts";
import { ParsedRequests } from "../rules/parsed-requests.ts";
import { LostRightStore } from "../source/lost-right-store.ts";
import { isMongoFailure } from "../source/mongo.ts";
import { RequestStore } from "../source/request-store.ts";
import { StartupError } from "../source/startup-error.ts";
import { UrlKeyStore } from "../source/url-key-store.ts";
import type { Basics } from "./basics.ts";
import type { Pipeline } from "./pipeline.ts";
import type { SharedState } from "./shared-state.ts";

/** Builds everything that the connections of a node work with. */
export function gatewayContext(
  basics: Basics,
  state: SharedState,
  {
    feed,
    revocations,
    ruleTimes,
    rulesAhead,
  }: Pick<GatewayContext, "feed" | "ruleTimes" | "rulesAhead"> & Pick<Pipeline, "revocations">,
): GatewayContext {
  const { config, id, log, metrics } = basics;
  const tickets = new TicketSealer(state.sealer);
  return {
    node: id,
    server: config.server,
    limits: config.limits,
    auth: config.auth,
    trust: new Trust(config.auth.jwt, revocations, { metrics, log }),
    feed,
    sealer: tickets,
    ticketTerms: {
      maxAgeMs: config.tickets.maxAgeMs,
      clockToleranceMs: toleranceOf(config.auth.jwt),
    },
    lostRights: lostRightsOf(config, state, { log, metrics }),
    urlKeys: urlKeysOf(config, state, { tickets, metrics }),
    compression: compressionOf(config, metrics),
    log,
    metrics,
    refusals: new Refusals(log, metrics),
    rules: compileRules(config),
    requests: new ParsedRequests(),
    ruleTimes,
    rulesAhead,
    recorder: recorderOf(basics, state),
    presence: null,
    trace: null,
    clock: new RuleClock(config.rules.nowStepMs, Date.now()),
  };
}

const compressionOf = ({ server }: Config, metrics: Basics["metrics"]): SharedCompression | null =>
  server.compression === "off" ? null : new SharedCompression(server.compressionMinBytes, metrics);

function recorderOf(
  { config, log, metrics, onStop }: Basics,
  { database, answer }: SharedState,
): RequestRecorder | null {
  const { recordMs } = config.rules;
  if (recordMs === undefined) return null;
  const store = new RequestStore(database);
  const save: SaveRequests = (...batch) => answer(() => store.save(...batch));
  const recorder = new RequestRecorder(recordMs, { save, isOutage: isMongoFailure, log, metrics });
  onStop(async () => recorder.stop());
  return recorder;
}

/**
 * Loads the package `socket.io` if it is configured, because it is an optional dependency.
 * @throws {StartupError} The package is not installed.
 */
async function socketIoOf({ server, mongodb }: Config): Promise<SocketIoOptions | null> {
  if (!server.socketio) return null;
  try {
    const { Server } = await import("socket.io");
    // A dependency of the library alone, so a package manager may have put it where only the library finds it.
    const requireBySocketIo = createRequire(createRequire(import.meta.url).resolve("socket.io"));
    const parser: SocketIoOptions["parser"] = requireBySocketIo("socket.io-parser");
    return { Server, parser, database: mongodb.database };
  } catch (cause) {
    const text =
      "server.socketio needs a package that is not installed: npm install socket.io@4, or set it to false";
    throw new StartupError(text, [], { cause });
  }
}

/**
 * Loads the endpoint for gRPC if it is configured, because its packages are optional dependencies.
 * @throws {StartupError} A package is not installed.
 */
async function grpcOf({ server }: Config): Promise<OptionalTransports["Grpc"]> {
  if (server.grpc === undefined) return null;
  try {
    const { GrpcEndpoint } = await import("../gateway/grpc/grpc-endpoint.ts");
    return GrpcEndpoint;
  } catch (cause) {
    const text =
      "server.grpc needs packages that are not installed: npm install @connectrpc/connect@2 @connectrpc/connect-node@2 " +
      "@bufbuild/protobuf@2, or remove server.grpc";
    throw new StartupError(text, [], { cause });
  }
}

/**
 * Loads the packages of the optional transports that are configured.
 * @throws {StartupError} A package is not installed.
 */
export const optionalTransportsOf = async (config: Config): Promise<OptionalTransports> => ({
  socketIo: await socketIoOf(config),
  Grpc: await grpcOf(config),
});

function lostRightsOf(
  { tickets: { maxAgeMs, lostRights } }: Config,
  { database, answer }: SharedState,
  parts: Pick<Basics, "log" | "metrics">,
): LostRights {
  const saved = new LostRightStore(database);
  const store: LostRightsStore = {
    save: (marks, expiresAt) => answer(() => saved.save(marks, expiresAt)),
    load: (ids) => answer(() => saved.load(ids)),
  };
  return new LostRights({ maxAgeMs, entries: lostRights }, { ...parts, store });
}

function urlKeysOf(
  { auth, tickets: { maxAgeMs } }: Config,
  { sealer, database, answer }: SharedState,
  parts: Pick<UrlKeyParts, "tickets" | "metrics">,
): UrlKeys {
  const saved = new UrlKeyStore(database);
  const store: UrlKeyParts["store"] = {
    add: (...key) => answer(() => saved.add(...key)),
    find: (id) => answer(() => saved.find(id)),
    spend: (...use) => answer(() => saved.spend(...use)),
    keep: (...use) => answer(() => saved.keep(...use)),
  };
  const { urlKeyLifetimeMs: lifetimeMs, urlKeysPerUser: perUser, jwt } = auth;
  const clockToleranceMs = toleranceOf(jwt);
  return new UrlKeys({ lifetimeMs, perUser, maxAgeMs, clockToleranceMs }, { ...parts, sealer, store });
}
