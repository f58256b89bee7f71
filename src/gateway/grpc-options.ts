import { z } from "zod";
import { port } from "./host-options.ts";
import { TlsOptions } from "./tls-options.ts";

/** The section `server.grpc`: the listener for gRPC, which needs HTTP/2. */
export const GrpcOptions = z.strictObject({
  host: z
    .string()
    .min(1)
    .default("127.0.0.1")
    .describe("Address that the listener for gRPC binds to; 0.0.0.0 for all interfaces."),
  port: port.default(8_482).describe("Port that clients of gRPC connect to; 0 lets the system choose one."),
  tls: TlsOptions.optional().describe(
    "Serve HTTP/2 over TLS. Unset: HTTP/2 in plain text (h2c), for a private network or behind a proxy that terminates TLS.",
  ),
  idleTimeoutMs: z
    .int()
    .min(1_000)
    .max(86_400_000)
    .default(300_000)
    .describe("A connection of HTTP/2 without a call in progress is closed after this time."),
});
/** Options of the listener for gRPC, with all defaults filled in. */
export type GrpcOptions = z.output<typeof GrpcOptions>;
