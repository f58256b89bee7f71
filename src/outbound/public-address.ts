/**
 * Decides which addresses the service may send requests to. URLs of receivers come from users and partners, and the
 * service can reach hosts that they cannot: the private network, the loopback interface, the metadata service of a cloud.
 */
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";

/** The block of IPv6 from which public addresses are assigned. Everything outside of it is reserved or special. */
const GLOBAL_UNICAST = ipaddr.IPv6.parse("2000::");
const GLOBAL_UNICAST_BITS = 3;

/** Services of cloud providers for their own virtual machines, at addresses that look public. */
const PROVIDER_ADDRESSES: ReadonlySet<string> = new Set(["168.63.129.16"]);

/** In an interface identifier of ISATAP this part is followed by an IPv4 address. */
const ISATAP = 0x5efe;

/**
 * Whether a text is an IP address of the public internet. Private, loopback, link-local, shared (CGNAT), multicast,
 * documentation and reserved ranges are not, and neither is an IPv6 form that embeds an IPv4 address, because a gateway
 * would forward it to that address.
 */
export function isPublicAddress(text: string): boolean {
  // A zone selects an interface of this machine, and has a meaning for link-local addresses only. The library would take
  // short forms, too, such as 1.0.
  if (isIP(text) === 0 || text.includes("%")) return false;
  const address = ipaddr.parse(text);
  if (address.range() !== "unicast") return false;
  if (address instanceof ipaddr.IPv4) return !PROVIDER_ADDRESSES.has(address.toString());
  return address.match(GLOBAL_UNICAST, GLOBAL_UNICAST_BITS) && !isIsatap(address);
}

function isIsatap({ parts }: ipaddr.IPv6): boolean {
  // The bit 0x0200 says whether the embedded address is globally unique.
  return ((parts[4] ?? 0) & 0xfdff) === 0 && parts[5] === ISATAP;
}
