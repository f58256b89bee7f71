/**
 * The addresses of a host for a connection, checked in the same step that the connection uses. A check before the
 * request would not help: a hostile name server may answer it with a public address, and the connection's own look-up
 * with a private one (DNS rebinding).
 */
import { Resolver } from "node:dns/promises";
import { isIPv6, type LookupFunction } from "node:net";

/** A request would have gone to an address that is not public. Nothing was sent. */
export class PrivateAddressError extends Error {
  override readonly name = "PrivateAddressError";

  constructor(host: string) {
    super(`${host} is not a public address, or has one that is not`);
  }
}

/** Finds the addresses of a host. It rejects with the error of the name server. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** For one question to one name server, in milliseconds; and how often it is repeated. */
const DNS_TIMEOUT = { timeout: 2_000, tries: 2 };

/**
 * Asks the name servers directly. The system's look-up would hold a thread of the process for as long as a name server
 * is silent, and a few names of a hostile user would stop every other look-up.
 * @param servers Unset: those of the system.
 */
export function publicResolver(servers?: readonly string[]): Resolve {
  const resolver = new Resolver(DNS_TIMEOUT);
  if (servers !== undefined) resolver.setServers(servers);
  return async (host) => {
    const answers = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
    const addresses = answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
    const failed = answers.find((answer) => answer.status === "rejected");
    if (addresses.length === 0 && failed !== undefined) throw failed.reason;
    return addresses;
  };
}

/**
 * A `lookup` for sockets that fails unless all addresses of the host pass. One private address among public ones is no
 * accident either, so it does not help that others would pass.
 */
export function checkedLookup(resolve: Resolve, isPublic: (address: string) => boolean): LookupFunction {
  return (host, { all }, callback) => {
    const find = async () => {
      const addresses = await resolve(host);
      if (!addresses.every(isPublic)) throw new PrivateAddressError(host);
      const [first] = addresses;
      if (first === undefined) throw Object.assign(new Error(`${host} has no address`), { code: "ENODATA" });
      return { first, addresses };
    };
    find().then(
      ({ first, addresses }) => {
        if (all === true) {
          callback(
            null,
            addresses.map((address) => ({ address, family: familyOf(address) })),
          );
        } else callback(null, first, familyOf(first));
      },
      (error: NodeJS.ErrnoException) => callback(error, []),
    );
  };
}

const familyOf = (address: string) => (isIPv6(address) ? 6 : 4);
