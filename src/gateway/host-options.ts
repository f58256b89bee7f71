import { z } from "zod";

/** The port of a listener. */
export const port = z.int().min(0).max(65_535);

/** A host as it appears in a `Host` header: a name, an IPv4 address or an IPv6 address in brackets; a port is optional. */
const HOST = /^(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;

/** A name under which clients reach a listener. */
export const host = z.string().regex(HOST, {
  error:
    "a host as clients name it: a name, an IPv4 address or an IPv6 address in brackets, with or without a port",
});
