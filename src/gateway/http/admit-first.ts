import type { Server, Socket } from "node:net";
import { type GuardParts, runGuarded } from "../../metrics/guard.ts";

/**
 * Asks `admit` before a server does anything with a new socket. Node's own listeners would set up a parser, TLS or HTTP/2 for a
 * socket that is refused, so they are called from here.
 * @param where The place that an unexpected error is counted under.
 * @param admit Returns `false` if it has closed the socket.
 */
export function admitFirst(
  server: Server,
  guard: GuardParts,
  where: string,
  admit: (socket: Socket) => boolean,
): void {
  const accept = server.listeners("connection");
  server.removeAllListeners("connection");
  server.on("connection", (socket: Socket) => {
    const pass = () => {
      if (admit(socket)) for (const listener of accept) listener.call(server, socket);
    };
    runGuarded(guard, where, pass, () => socket.destroy());
  });
}
