const HOST = /^(.+?)(?::(\d{1,5}))?$/;

/** The answer to a request for a host that is not configured. */
export const UNKNOWN_HOST_TEXT = "the service is not reached under that name: server.hosts does not list it";

interface HostName {
  readonly name: string;
  /** `undefined`: any. */
  readonly port: string | undefined;
}

/**
 * The names under which a listener may be asked. A page whose own domain was pointed at this machine (DNS rebinding)
 * is of the same origin for its browser, and only the `Host` header tells that it asked for another name.
 */
export class HostNames {
  readonly #allowed: readonly HostName[];

  constructor(hosts: readonly string[]) {
    this.#allowed = hosts.map(parse);
  }

  /** @param header The `Host` header, or the part of an `Origin` after the scheme. */
  includes(header: string | undefined): boolean {
    const given = parse(header ?? "");
    return this.#allowed.some(
      ({ name, port }) => name === given.name && (port === undefined || port === given.port),
    );
  }
}

function parse(text: string): HostName {
  // An IPv6 address has its colons inside brackets, so what follows the last colon outside is the port.
  const [, name = "", port] = HOST.exec(text.toLowerCase()) ?? [];
  return { name, port };
}
