const HOST = /^(.+?)(?::(\d{1,5}))?$/;

/** The answer to a request for a host that is not configured. */
export const UNKNOWN_HOST_TEXT = "the service is not reached under that name: server.hosts does not list it";

interface HostName {
  readonly name: string;
  /** `undefined` allows any port. */
  readonly port: string | undefined;
}

/**
 * The names under which a listener may be addressed. If a page's own domain was pointed at this machine (DNS
 * rebinding), the request has the same origin for the browser, and only the `Host` header shows that it was sent to
 * another name.
 */
export class HostNames {
  readonly #allowed: readonly HostName[];

  constructor(hosts: readonly string[]) {
    this.#allowed = hosts.map(parse);
  }

  /**
   * Whether a name is allowed.
   * @param header The `Host` header, or the part of an `Origin` after the scheme.
   */
  includes(header: string | undefined): boolean {
    const given = parse(header ?? "");
    return this.#allowed.some(
      ({ name, port }) => name === given.name && (port === undefined || port === given.port),
    );
  }
}

function parse(text: string): HostName {
  // An IPv6 address has its colons inside brackets, so the port follows the last colon outside.
  const [, name = "", port] = HOST.exec(text.toLowerCase()) ?? [];
  return { name, port };
}
