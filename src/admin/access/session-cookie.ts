import type { IncomingMessage } from "node:http";

/**
 * The cookie's name contains the port, because browsers send the cookies of a host to all of its ports: two nodes on one
 * machine would otherwise end each other's sessions.
 */
const nameFor = ({ headers }: IncomingMessage): string =>
  `tidewire-admin-${/:(\d{1,5})$/.exec(headers.host ?? "")?.[1] ?? "default"}`;

/** The id of the session that a request names; `null` if it names none. */
export function sessionIdOf(request: IncomingMessage): string | null {
  const name = nameFor(request);
  for (const part of (request.headers.cookie ?? "").split(";")) {
    const at = part.indexOf("=");
    if (at > 0 && part.slice(0, at).trim() === name) return part.slice(at + 1).trim();
  }
  return null;
}

/**
 * The value of `Set-Cookie`.
 * @param id An empty one removes the cookie.
 */
export function sessionCookie(request: IncomingMessage, id: string, lifetimeMs: number): string {
  const seconds = Math.max(0, Math.floor(lifetimeMs / 1_000));
  const attributes = ["Path=/", "HttpOnly", "SameSite=Strict", `Max-Age=${seconds}`];
  // The listener itself speaks plain HTTP. The origin of a page says whether a proxy in front of it speaks TLS.
  if (request.headers.origin?.startsWith("https:") === true) attributes.push("Secure");
  return [`${nameFor(request)}=${id}`, ...attributes].join("; ");
}
