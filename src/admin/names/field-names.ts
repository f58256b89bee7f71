import { asBuffer, BSON_TYPE, elementsOf } from "../../match/bson-value.ts";
import { Turns } from "../turns.ts";
import { type NamedPath, type NameNode, NameTree } from "./name-tree.ts";

/** Paths of one collection. */
const PATHS_MAX = 500;
/** Objects of one document that are read, the outer ones first. */
const OBJECTS_MAX = 2_000;
/** Keys of one object that are read. */
const KEYS_READ_MAX = 1_000;
/** Elements of an array that are read. */
const ELEMENTS_MAX = 20;

const TYPE_NAMES = new Map(Object.entries(BSON_TYPE).map(([name, type]) => [type as number, name]));

/** Rules cannot name a key with a dot, nor one that begins with `$`. */
const isFieldName = (key: string): boolean => key !== "" && !key.includes(".") && !key.startsWith("$");

/** An object or an array in a document. */
interface Container {
  readonly at: number;
  readonly node: NameNode;
}

/** The paths of the fields of documents, without indexes of arrays, and the BSON types there. No value is read. */
export async function fieldNames(documents: readonly Uint8Array[]): Promise<NamedPath[]> {
  const tree = new NameTree(isFieldName);
  const turns = new Turns();
  for (const bytes of documents) {
    const waiting: Container[] = [{ at: 0, node: tree.root }];
    // The list grows while it is read.
    for (const container of waiting) {
      await turns.pause();
      for (const inner of addObject(tree, bytes, container))
        if (waiting.length < OBJECTS_MAX) waiting.push(inner);
    }
  }
  return tree.paths(PATHS_MAX);
}

/** Adds the keys of one object. @returns The objects in it, whose keys are still to be added. */
function addObject(tree: NameTree, bytes: Uint8Array, { at, node: parent }: Container): Container[] {
  const inner: Container[] = [];
  let read = 0;
  for (const { type, start, nameStart, nameEnd } of elementsOf(bytes, at)) {
    if (parent.isDropped || parent.mapTypes !== null || ++read > KEYS_READ_MAX) break;
    const name = asBuffer(bytes).toString("utf8", nameStart, nameEnd);
    const node = tree.add(parent, name, TYPE_NAMES.get(type) ?? "unknown");
    if (node === null) continue;
    if (type === BSON_TYPE.object) inner.push({ at: start, node });
    if (type === BSON_TYPE.array) inner.push(...objectsIn(bytes, start, node));
  }
  return inner;
}

/** The objects in an array. A path of MongoDB does not lead into an array within an array. */
function objectsIn(bytes: Uint8Array, at: number, node: NameNode): Container[] {
  const objects: Container[] = [];
  let read = 0;
  for (const { type, start } of elementsOf(bytes, at)) {
    if (++read > ELEMENTS_MAX) break;
    if (type === BSON_TYPE.object) objects.push({ at: start, node });
  }
  return objects;
}
