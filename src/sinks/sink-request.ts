/** The live query of a sink. It is a client's request, except that its fields may be excluded. */
import { excludeProjection, includeProjection } from "../match/projection.ts";
import type { Projection } from "../match/projection-fields.ts";
import { type ParsedRequest, parseRequest, type QueryRequest } from "../rules/authorize.ts";
import type { RequestLimits } from "../rules/compile-rules.ts";
import { ParsedRequests } from "../rules/parsed-requests.ts";
import type { SinkOptions } from "./options.ts";

/** The parts of a sink's options that form its live query. */
type SinkQuery = Pick<SinkOptions, "collection" | "filter" | "fields" | "aggregate" | "snapshot">;

/**
 * Parses the request of a sink.
 * @throws {TidewireError} `bad-filter`, `bad-request`
 */
export function parseSinkRequest(options: SinkQuery, limits: RequestLimits): ParsedRequest {
  const { collection, filter, fields, aggregate, snapshot } = options;
  const request: QueryRequest = {
    collection,
    filter,
    snapshot,
    // `parseRequest` checks the form, as it does for a client.
    ...(aggregate === undefined ? {} : { aggregate: aggregate as QueryRequest["aggregate"] & {} }),
    ...(aggregate !== undefined && fields !== undefined ? { fields: [] } : {}),
  };
  return { ...parseRequest(request, limits), fields: projectionOf(fields) };
}

function projectionOf(fields: SinkQuery["fields"]): Projection | null {
  if (fields === undefined) return null;
  return fields.include === undefined
    ? excludeProjection(fields.exclude ?? [])
    : includeProjection(fields.include);
}

/** Gives the parsed request of a sink, whatever its connection asks for. */
export class SinkRequests extends ParsedRequests {
  readonly #options: SinkQuery;

  constructor(options: SinkQuery) {
    super();
    this.#options = options;
  }

  override parse(_request: QueryRequest, limits: RequestLimits): ParsedRequest {
    return parseSinkRequest(this.#options, limits);
  }
}
