import { writeClaimParts } from "../../rules/claim-path.ts";
import { Turns } from "../turns.ts";
import { type NameNode, NameTree } from "./name-tree.ts";

/** Paths of one answer. */
const PATHS_MAX = 200;
/** Connections that are read. */
const CONNECTIONS_MAX = 5_000;

/** The claims of a token; `null` for an anonymous client. */
type Claims = Readonly<Record<string, unknown>> | null;

/** Names as parts: a name may contain a dot. */
export type ClaimParts = readonly string[];

const newTree = () => new NameTree((key) => key !== "");

/** The paths of the claims of the first connections. No value is kept. */
export async function claimNames(tokens: Iterable<Claims>): Promise<ClaimParts[]> {
  const tree = newTree();
  const turns = new Turns();
  let read = 0;
  for (const claims of tokens) {
    if (++read > CONNECTIONS_MAX) break;
    if (claims !== null) addClaims(tree, tree.root, claims);
    await turns.pause();
  }
  return tree.paths(PATHS_MAX).map(({ parts }) => parts);
}

/** A path in a filter cannot lead through a list without a position, so that the members of lists are left out. */
function addClaims(tree: NameTree, parent: NameNode, claims: Readonly<Record<string, unknown>>): void {
  for (const [key, value] of Object.entries(claims)) {
    if (parent.isDropped || parent.mapTypes !== null) return;
    const node = tree.add(parent, key, "");
    // A verified payload was parsed from JSON: an object that is no list has texts as keys.
    if (node !== null && typeof value === "object" && value !== null && !Array.isArray(value))
      addClaims(tree, node, value as Readonly<Record<string, unknown>>);
  }
}

/** The paths that several processes have found, as rules write them. Keys that are names in each may be data together. */
export function joinClaimNames(lists: readonly (readonly ClaimParts[])[]): string[] {
  const tree = newTree();
  for (const parts of lists.flat()) {
    let node: NameNode | null = tree.root;
    for (const part of parts) node = node === null ? null : tree.add(node, part, "");
  }
  return tree.paths(PATHS_MAX).map(({ parts }) => `%%user${writeClaimParts(parts)}`);
}
