/** Errors of the protocol as the status of a call (docs/grpc.md). */
import { Code, ConnectError } from "@connectrpc/connect";
import type { ErrorCode } from "../../protocol/errors.ts";
import type { ErrorMessage } from "../../protocol/messages.ts";
import { ErrorDetailSchema } from "./tidewire/v1/live_queries_pb.ts";

/** The status of each code. Libraries decide by it whether to call again. */
export const STATUS_OF: Readonly<Record<ErrorCode, Code>> = {
  "bad-request": Code.InvalidArgument,
  "bad-filter": Code.InvalidArgument,
  unauthenticated: Code.Unauthenticated,
  forbidden: Code.PermissionDenied,
  "unknown-collection": Code.NotFound,
  "duplicate-id": Code.InvalidArgument,
  "unknown-id": Code.FailedPrecondition,
  "too-many-subscriptions": Code.ResourceExhausted,
  "too-many-requests": Code.ResourceExhausted,
  "snapshot-too-large": Code.FailedPrecondition,
  unavailable: Code.Unavailable,
  internal: Code.Internal,
};

/**
 * The status with which a call ends. Trailers repeat the most important parts for libraries that do not read the
 * details of a status.
 */
export function toCallError({ code, message, retry, retryAfterMs, details }: ErrorMessage): ConnectError {
  const trailers = {
    "tidewire-code": code,
    "tidewire-retry": retry,
    ...(retryAfterMs === undefined ? {} : { "tidewire-retry-after-ms": String(Math.ceil(retryAfterMs)) }),
  };
  const detail = {
    code,
    retry,
    details: details === undefined ? "" : JSON.stringify(details),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs: BigInt(Math.ceil(retryAfterMs)) }),
  };
  return new ConnectError(message, STATUS_OF[code], trailers, [{ desc: ErrorDetailSchema, value: detail }]);
}
