/**
 * Parsed requests, shared by equal ones. The pages of one application ask for the same few queries, so most requests of a
 * node have been parsed before.
 */
import { type ParsedRequest, parseRequest, type QueryRequest } from "./authorize.ts";
import type { RequestLimits } from "./compile-rules.ts";

/** How many requests are kept. The oldest is dropped first. */
const ENTRIES_MAX = 1_000;
/** Longer requests, in characters, are rarely equal, and would make the cache large. */
const TEXT_MAX = 1_024;

/** Parses requests, each text once. */
export class ParsedRequests {
  /** The limits under which the kept requests were parsed. An edit of the configuration may change them. */
  #limits: RequestLimits | null = null;
  readonly #byText = new Map<string, ParsedRequest>();

  /**
   * As `parseRequest`.
   * @param text The request as JSON.
   * @throws {TidewireError} As `parseRequest`. A refused request is not kept.
   */
  parse(request: QueryRequest, limits: RequestLimits, text: string): ParsedRequest {
    // JSON writes a number beyond the range of a double as null, so such a text does not say which of both was asked for.
    if (text.length > TEXT_MAX || text.includes("null")) return parseRequest(request, limits);
    if (this.#limits !== limits) {
      this.#byText.clear();
      this.#limits = limits;
    }
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    const parsed = parseRequest(request, limits);
    if (this.#byText.size >= ENTRIES_MAX) {
      const [oldest] = this.#byText.keys();
      if (oldest !== undefined) this.#byText.delete(oldest);
    }
    this.#byText.set(text, parsed);
    return parsed;
  }
}
