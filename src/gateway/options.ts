import { isIP } from "node:net";
import { z } from "zod";
import { AdminOptions } from "./admin-options.ts";
import { GrpcOptions } from "./grpc-options.ts";
import { host, port } from "./host-options.ts";
import { originProblem } from "./origins.ts";
import { TlsOptions } from "./tls-options.ts";

function isCidr(text: string): boolean {
  const [address = "", bits, ...rest] = text.split("/");
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

/** The advice about reconnecting in `welcome` (docs/protocol.md, section 5). */
export const ReconnectOptions = z
  .strictObject({
    minMs: z.int().min(10).max(60_000).default(250).describe("Upper bound of the first back-off."),
    maxMs: z.int().min(100).max(600_000).default(30_000).describe("Upper bound of every later back-off."),
    factor: z
      .number()
      .min(1)
      .max(10)
      .default(2)
      .describe("Factor by which the back-off grows with each attempt."),
    stableAfterMs: z
      .int()
      .min(0)
      .max(600_000)
      .default(5_000)
      .describe("The back-off is reset only after a connection has lasted this long."),
  })
  .refine(({ minMs, maxMs }) => minMs <= maxMs, {
    path: ["max"],
    error: "at least min. Raise max or lower min",
  });
/** The advice to clients about reconnecting, with all defaults filled in. */
export type ReconnectOptions = z.output<typeof ReconnectOptions>;

/** The section `tickets`: how long a client may resume with a ticket. */
export const TicketOptions = z.strictObject({
  maxAgeMs: z
    .int()
    .min(60_000)
    .default(24 * 3_600_000)
    .describe(
      "How long a ticket resumes after it was issued. Connected clients receive newer tickets when half of this is over.",
    ),
  lostRights: z
    .int()
    .min(100)
    .default(10_000)
    .describe(
      "Rights lost by a newer token that this node remembers, one for each user and collection. The state database holds all of them for maxAge.",
    ),
});
/** Options of tickets, with all defaults filled in. */
export type TicketOptions = z.output<typeof TicketOptions>;

/** The address of a listener. */
interface Address {
  readonly host: string;
  readonly port: number;
}

/** Whether another listener has the address already. */
const isTaken = (wanted: Address | undefined, others: readonly Address[]): boolean =>
  wanted !== undefined &&
  wanted.port !== 0 &&
  others.some(({ host, port }) => port === wanted.port && host === wanted.host);

/** The section `server`: the listeners, and how connections are kept. */
export const ServerOptions = z
  .strictObject({
    host: z
      .string()
      .min(1)
      .default("127.0.0.1")
      .describe("Address that the service binds to; 0.0.0.0 for all interfaces."),
    port: port.default(8_480).describe("Port that clients connect to; 0 lets the system choose one."),
    workers: z
      .union([z.int().min(1).max(256), z.literal("auto")])
      .default(1)
      .describe(
        "Processes that serve the port; auto: one per core. Each is a node of its own: limits are per process.",
      ),
    origins: z
      .array(
        z.string().superRefine((text, context) => {
          const message = originProblem(text);
          if (message !== undefined) context.addIssue({ code: "custom", message });
        }),
      )
      .readonly()
      .default([])
      .meta({ examples: [["https://app.example.com"]] })
      .describe(
        'Pages that may connect from a browser. Empty: none. "*" allows every page; "https://*.preview.example.com" every name with one label more.',
      ),
    hosts: z
      .array(host)
      .readonly()
      .optional()
      .meta({ examples: [["live.example.com"]] })
      .describe(
        "Names under which clients may reach the service (Host header); a name without a port allows any port. Unset: all names.",
      ),
    tls: TlsOptions.optional().describe(
      "Serve https and wss. Unset: plain, for use behind a proxy that terminates TLS.",
    ),
    compression: z
      .enum(["off", "shared"])
      .default("off")
      .describe(
        "Whether messages are compressed for clients that ask for it: each message once, for all who receive it. Read about length side channels before turning it on (docs/security.md).",
      ),
    compressionMinBytes: z
      .int()
      .min(64)
      .max(1_048_576)
      .default(1_024)
      .describe("Shorter messages are not compressed."),
    heartbeatMs: z
      .int()
      .min(1_000)
      .max(300_000)
      .default(25_000)
      .describe(
        "How often an idle connection receives a ping and a watermark. Keep it below the idle timeout of any proxy.",
      ),
    pongTimeoutMs: z
      .int()
      .min(100)
      .max(300_000)
      .default(10_000)
      .describe("A connection on which no frame arrives for this long after a ping is closed (4000)."),
    headersTimeoutMs: z
      .int()
      .min(1_000)
      .max(120_000)
      .default(5_000)
      .describe("A socket that has not sent all headers of a request within this time is closed."),
    requestTimeoutMs: z
      .int()
      .min(1_000)
      .max(300_000)
      .default(10_000)
      .describe(
        "A socket that has not sent a whole request, including the body, within this time is closed.",
      ),
    tlsHandshakeTimeoutMs: z
      .int()
      .min(1_000)
      .max(120_000)
      .default(5_000)
      .describe("A socket that has not finished its TLS handshake within this time is closed."),
    sseCommentMs: z
      .int()
      .min(1_000)
      .max(300_000)
      .default(15_000)
      .describe("How often a comment line keeps a quiet stream of server-sent events open through proxies."),
    sseRetryMs: z
      .int()
      .min(100)
      .max(300_000)
      .default(3_000)
      .describe(
        "How long EventSource waits before it reconnects; each stream receives half to one and a half of it.",
      ),
    maxConnectionAgeMs: z
      .int()
      .min(60_000)
      .optional()
      .meta({ examples: [3_600_000] })
      .describe(
        "Connections older than this are closed (4002), which distributes them over nodes. Unset: never.",
      ),
    drainTimeoutMs: z
      .int()
      .min(0)
      .max(3_600_000)
      .default(30_000)
      .describe("How long a node drains its connections when it stops, before it closes the remaining ones."),
    trustedProxies: z
      .array(z.string().refine(isCidr, { error: "an IP address or CIDR block" }))
      .readonly()
      .default([])
      .meta({ examples: [["10.0.0.0/8"]] })
      .describe("Addresses of proxies whose X-Forwarded-For the node trusts. Empty: none."),
    socketio: z
      .boolean()
      .default(false)
      .describe(
        "Serve clients of Socket.IO too, under /socket.io/. Requires the package socket.io to be installed.",
      ),
    grpc: GrpcOptions.optional().describe(
      "Serve backends over gRPC on a listener of its own, and over Connect and gRPC-Web under /v1/connect/ of the public one. Requires the packages @connectrpc/connect, @connectrpc/connect-node and @bufbuild/protobuf.",
    ),
    node: z
      .string()
      .min(1)
      .max(64)
      .optional()
      .meta({ examples: ["node-1"] })
      .describe(
        "The node's name in logs and on the admin listener. Clients see an opaque id instead. Unset: the host name and a random suffix.",
      ),
    reconnect: ReconnectOptions.prefault({}).describe("Back-off that welcome announces to clients."),
    admin: AdminOptions.prefault({}).describe(
      "The admin listener: /metrics, /livez, /readyz, and the API for admins. It must not be public.",
    ),
  })
  .refine(
    (server) => server.port === 0 || server.port !== server.admin.port || server.host !== server.admin.host,
    {
      path: ["admin", "port"],
      error: "another port than server.port: the admin listener is not for the public. Choose a free one",
    },
  )
  .refine(({ port, grpc, host, admin }) => !isTaken(grpc, [{ host, port }, admin]), {
    path: ["grpc", "port"],
    error: "another port than server.port and server.admin.port. Choose a free one",
  })
  .refine(({ headersTimeoutMs, requestTimeoutMs }) => headersTimeoutMs <= requestTimeoutMs, {
    path: ["requestTimeout"],
    error: "at least headersTimeout. Raise requestTimeout or lower headersTimeout",
  });
/** Options of the server, with all defaults filled in. */
export type ServerOptions = z.output<typeof ServerOptions>;
