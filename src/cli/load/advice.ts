/** Says what to do about the errors that a load run meets. */
import type { ErrorCount } from "./tally.ts";

const ONE_ADDRESS =
  "All connections of one machine have one address. Raise the limit in the configuration of the service that you test, or use fewer";

/** By the name of the limit, the code or the system error that an error has. The first that matches counts. */
const ADVICE: readonly (readonly [pattern: RegExp, advice: string])[] = [
  [/connectionsPerAddress/, `${ONE_ADDRESS} --connections`],
  [/socketsPerAddress/, `${ONE_ADDRESS} --connections`],
  [/connect(?:Rate|Burst)PerAddress/, `${ONE_ADDRESS} connections per second (--ramp)`],
  [/connectRate/, "Raise limits.connectRate of the service, or use a slower --ramp"],
  [
    /connectionsPerUser/,
    'The users have the same sub. Number them in the scenario (claims: { sub: "user-{{i}}" }), or give as many --tokens as --connections',
  ],
  [/nodeFull|4200/, "The node is full: raise limits.connections, or use fewer --connections"],
  [
    /ECONNREFUSED/,
    "Nothing listens there. Is the service running? `tidewire start` logs its port (default 8480)",
  ],
  [/ENOTFOUND|EAI_AGAIN/, "The name of the host in --url is unknown"],
  [/EMFILE|ENFILE/, "This process may not open more files: raise `ulimit -n`, or use fewer --connections"],
  [
    /EADDRNOTAVAIL/,
    "This machine has no port left for another connection: use fewer --connections, or more machines",
  ],
  [/ECONNRESET|EPIPE/, "The connection was reset: the log of the service or of a proxy says why"],
  [
    /HTTP 408|handshake has timed out/,
    "The service, or this machine, is too busy to accept connections at this rate: use a slower --ramp",
  ],
  [
    /ETIMEDOUT|timed out|nothing heard/i,
    "The host does not answer: check the host, the port and the firewall",
  ],
  [
    /HTTP 404/,
    "No Tidewire service answers there. --url takes the public listener (server.port, default 8480), not the admin listener",
  ],
  [/HTTP 50[234]/, "A proxy answers, but reaches no service behind it"],
  [
    /HTTP 429|too-many-requests/,
    "The service refuses more: raise the limit that the text names, or load it less",
  ],
  [/HTTP 403|4403/, "server.hosts or server.origins of the service does not list the host in --url"],
  [/HTTP (?:2|3)\d\d/, "A web server answers that is no Tidewire service: check the port in --url"],
  [/EPROTO|wrong version number|SSL/, "One side speaks TLS and the other does not: wss: and ws: in --url"],
  [
    /unauthenticated|4401|410[0-2]/,
    "The service refuses the token. Compare the secret or key with auth.jwt of the service, and give iss and aud in claims if it asks for them",
  ],
  [
    /forbidden/,
    'No rule allows the subscription to these users: `tidewire explain --user \'{"sub":"…"}\' --collection …` says why',
  ],
  [
    /unknown-collection/,
    "The scenario names a collection that the configuration does not have under `collections`",
  ],
  [/bad-filter|bad-request/, "The service does not accept the filter or fields of the scenario"],
  [
    /snapshot-too-large/,
    "The result is larger than limits.snapshotDocuments or a similar limit: filter it more",
  ],
  [/too-many-subscriptions/, "Raise the limit that the text names, or use fewer subscriptions"],
  [
    /socket hang up|close 1006/,
    "The connection ended without a reason: is there a Tidewire service at --url?",
  ],
];

/** The advice for an error; `undefined` if only its own text helps. */
export function adviceFor({ code, message }: Pick<ErrorCount, "code" | "message">): string | undefined {
  const text = `${code} ${message}`;
  return ADVICE.find(([pattern]) => pattern.test(text))?.[1];
}
