/**
 * Decides which addresses count as one client, and which belong to proxies. Limits per address are only as good as
 * this: one subscriber has billions of IPv6 addresses, and one proxy carries thousands of clients.
 */
import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";

/** The longest hop of X-Forwarded-For that is kept if it is no address. */
const WORD_MAX = 64;

/**
 * The address in one spelling: an IPv4 address mapped into IPv6 becomes IPv4, and a port, brackets and a zone are
 * removed. Text that is not an address stays as it is, cut to 64 characters.
 */
export function normalizeAddress(text: string): string {
  const [, bracketed] = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(text) ?? [];
  const [, withoutPort] = /^(\d+\.\d+\.\d+\.\d+):\d{1,5}$/.exec(text) ?? [];
  const [address = ""] = (bracketed ?? withoutPort ?? text).split("%");
  if (isIPv4(address)) return address;
  const groups = groupsOf(address);
  if (groups === null) return text.slice(0, WORD_MAX);
  return embeddedIPv4(groups) ?? address.toLowerCase();
}

/**
 * The key by which limits per address count: an IPv4 address, or the /64 block of an IPv6 address, because one
 * subscriber usually owns a whole /64.
 * @param address In the form that `normalizeAddress` returns.
 */
export function networkOf(address: string): string {
  const groups = groupsOf(address);
  if (groups === null) return address;
  const block = groups.slice(0, 4).map((group) => group.toString(16));
  return `${block.join(":")}::/64`;
}

/** The eight groups of an IPv6 address; `null` for any other text. */
function groupsOf(address: string): number[] | null {
  if (!isIPv6(address)) return null;
  const [head = "", tail] = address.split("::");
  const left = readGroups(head);
  const right = readGroups(tail ?? "");
  return [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
}

function readGroups(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (!group.includes(".")) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split(".").map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}

/** The IPv4 address inside ::ffff:0:0/96 (mapped) or 64:ff9b::/96 (translated); `null` for any other address. */
function embeddedIPv4(groups: readonly number[]): string | null {
  const prefix = groups.slice(0, 6).join();
  if (prefix !== "0,0,0,0,0,65535" && prefix !== "100,65435,0,0,0,0") return null;
  return groups
    .slice(6)
    .flatMap((group) => [group >> 8, group & 255])
    .join(".");
}

/** The proxies of `server.trustedProxies`. */
export class TrustedProxies {
  readonly #blocks = new BlockList();
  readonly #isEmpty: boolean;

  constructor(blocks: readonly string[]) {
    this.#isEmpty = blocks.length === 0;
    for (const block of blocks) {
      const [address = "", bits] = block.split("/");
      const family = isIPv6(address) ? "ipv6" : "ipv4";
      if (bits === undefined) this.#blocks.addAddress(address, family);
      else this.#blocks.addSubnet(address, Number(bits), family);
    }
  }

  /**
   * Whether an address belongs to a trusted proxy.
   * @param address In the form that `normalizeAddress` returns. A hop that is no address is no proxy.
   */
  includes(address: string): boolean {
    // A check of the list takes microseconds, and every connection asks.
    if (this.#isEmpty) return false;
    const family = isIP(address);
    return family !== 0 && this.#blocks.check(address, family === 6 ? "ipv6" : "ipv4");
  }
}
