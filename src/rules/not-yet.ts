import { TidewireError } from "../protocol/errors.ts";
import type { QueryRequest } from "./authorize.ts";

/**
 * Parts of version 1 of the protocol that this release does not serve yet. They are refused by name, because what
 * is silently ignored is believed to work.
 * @throws {TidewireError} `bad-request`
 */
export function refuseUnsupported(request: QueryRequest): void {
  const part =
    request.sort !== undefined
      ? "sort"
      : request.limit !== undefined
        ? "limit"
        : request.documents === "delta"
          ? "documents"
          : undefined;
  if (part === undefined) return;
  const what = part === "documents" ? 'documents: "delta"' : part;
  throw new TidewireError("bad-request", `${what} is not supported yet: leave it out`, { path: part });
}
