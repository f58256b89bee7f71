/**
 * Reads heap snapshots of V8, and attributes each byte to one shape: an object by its constructor, a closure by its name,
 * a context by its variables. Arrays, strings and other parts without an identity of their own count for the object
 * that dominates them, so the shapes add up to the whole heap.
 */
import { readFileSync } from "node:fs";

/** A snapshot as flat arrays, with the edges of each node found by offset. */
class Graph {
  nodes;
  edges;
  strings;
  nodeFields;
  edgeFields;
  nodeTypes;
  edgeTypes;
  /** The first edge of each node, and the end of all edges. */
  firstEdge;
  count;

  constructor(file) {
    const { snapshot, nodes, edges, strings } = JSON.parse(readFileSync(file, "utf8"));
    const { meta } = snapshot;
    const offsets = (names) => Object.fromEntries(names.map((name, at) => [name, at]));
    this.nodes = nodes;
    this.edges = edges;
    this.strings = strings;
    this.nodeFields = { ...offsets(meta.node_fields), size: meta.node_fields.length };
    this.edgeFields = { ...offsets(meta.edge_fields), size: meta.edge_fields.length };
    [this.nodeTypes] = meta.node_types;
    [this.edgeTypes] = meta.edge_types;
    this.count = nodes.length / this.nodeFields.size;
    this.firstEdge = new Uint32Array(this.count + 1);
    for (let node = 0; node < this.count; node++)
      this.firstEdge[node + 1] = this.firstEdge[node] + this.#field(node, "edge_count");
  }

  #field(node, name) {
    return this.nodes[node * this.nodeFields.size + this.nodeFields[name]];
  }

  type(node) {
    return this.nodeTypes[this.#field(node, "type")];
  }

  name(node) {
    return this.strings[this.#field(node, "name")];
  }

  bytes(node) {
    return this.#field(node, "self_size");
  }

  edgeType(edge) {
    return this.edgeTypes[this.edges[edge * this.edgeFields.size + this.edgeFields.type]];
  }

  edgeName(edge) {
    const name = this.edges[edge * this.edgeFields.size + this.edgeFields.name_or_index];
    const type = this.edgeType(edge);
    return type === "element" || type === "hidden" ? `[${name}]` : this.strings[name];
  }

  target(edge) {
    return this.edges[edge * this.edgeFields.size + this.edgeFields.to_node] / this.nodeFields.size;
  }
}

/** The reachable nodes, each after the nodes that it was reached from first, without weak references. */
function inPostOrder(graph) {
  const order = new Uint32Array(graph.count);
  const seen = new Uint8Array(graph.count);
  const nextEdge = graph.firstEdge.slice(0, graph.count);
  const stack = [0];
  let done = 0;
  seen[0] = 1;
  while (stack.length > 0) {
    const node = stack.at(-1);
    if (nextEdge[node] === graph.firstEdge[node + 1]) {
      order[done++] = node;
      stack.pop();
      continue;
    }
    const edge = nextEdge[node]++;
    const to = graph.target(edge);
    if (seen[to] === 1 || graph.edgeType(edge) === "weak") continue;
    seen[to] = 1;
    stack.push(to);
  }
  return order.subarray(0, done);
}

/** The immediate dominator of each node (Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm"). */
function dominatorsOf(graph, order) {
  const rank = new Int32Array(graph.count).fill(-1);
  for (let i = 0; i < order.length; i++) rank[order[i]] = i;
  const dominator = new Int32Array(order.length).fill(-1);
  const root = order.length - 1;
  dominator[root] = root;
  const common = (left, right) => {
    let [a, b] = [left, right];
    while (a !== b) {
      while (a < b) a = dominator[a];
      while (b < a) b = dominator[b];
    }
    return a;
  };
  for (let changed = true; changed; ) {
    changed = false;
    // Successors before and after: each node offers itself to its targets, in reverse post-order.
    for (let i = root; i >= 0; i--) {
      if (dominator[i] < 0) continue;
      const node = order[i];
      for (let edge = graph.firstEdge[node]; edge < graph.firstEdge[node + 1]; edge++) {
        const to = rank[graph.target(edge)];
        if (to < 0 || to === root || graph.edgeType(edge) === "weak") continue;
        const next = dominator[to] < 0 ? i : common(i, dominator[to]);
        if (next === dominator[to]) continue;
        dominator[to] = next;
        changed = true;
      }
    }
  }
  return dominator;
}

/** Variables in the label of a context; the rest is cut off. */
const VARIABLES_SHOWN = 5;

/** Constructors that say nothing about the purpose of an object. */
const PLAIN = new Set(["Object", "Map", "Set", "Promise", "Timeout", "Function"]);

/** One edge over which each node is reached on a shortest path, and the node that it starts from. */
function firstReached(graph) {
  const by = new Int32Array(graph.count).fill(-1);
  const from = new Int32Array(graph.count).fill(-1);
  from[0] = 0;
  const queue = [0];
  for (let at = 0; at < queue.length; at++) {
    const node = queue[at];
    for (let edge = graph.firstEdge[node]; edge < graph.firstEdge[node + 1]; edge++) {
      const to = graph.target(edge);
      if (from[to] >= 0 || graph.edgeType(edge) === "weak") continue;
      from[to] = node;
      by[to] = edge;
      queue.push(to);
    }
  }
  return { by, from };
}

/** The property or the variable that holds a node. */
function holderOf(graph, { by, from }, node) {
  const path = [];
  for (let at = node; by[at] >= 0; at = from[at]) {
    const edge = graph.edgeName(by[at]);
    if (!/^(\[.*\]|elements|table|properties|context)$/.test(edge)) path.unshift(edge);
    const owner = graph.name(from[at]);
    const isNamed = graph.type(from[at]) === "object" && !PLAIN.has(owner) && owner !== "Array";
    if (isNamed || owner === "system / Context" || path.length > 2) {
      return `${owner === "system / Context" ? "a context" : owner}.${path.join(".")}`;
    }
  }
  return path.join(".");
}

/** The shape that a node begins; `null` if it counts for the node that dominates it. */
function shapeOf(graph, reached, node) {
  const type = graph.type(node);
  const name = graph.name(node);
  if (type === "closure") return `closure ${name === "" ? `of ${holderOf(graph, reached, node)}` : name}`;
  if (name === "system / Context") {
    const variables = [];
    for (let edge = graph.firstEdge[node]; edge < graph.firstEdge[node + 1]; edge++)
      if (graph.edgeType(edge) === "context") variables.push(graph.edgeName(edge));
    const rest = variables.length > VARIABLES_SHOWN ? ", …" : "";
    return `context {${variables.slice(0, VARIABLES_SHOWN).join(", ")}${rest}}`;
  }
  if (type === "native") return `native ${name}`;
  if (type !== "object" || name === "Array") return null;
  return PLAIN.has(name) ? `${name} of ${holderOf(graph, reached, node)}` : name;
}

/**
 * The shapes of a heap.
 * @returns By shape: how many there are, and their bytes, with the parts that count for them.
 */
export function shapesOf(file) {
  const graph = new Graph(file);
  const order = inPostOrder(graph);
  const dominator = dominatorsOf(graph, order);
  const reached = firstReached(graph);
  const owner = new Array(order.length);
  const shapes = new Map();
  // In reverse post-order a dominator comes before the nodes that it dominates.
  for (let i = order.length - 1; i >= 0; i--) {
    const node = order[i];
    const own = shapeOf(graph, reached, node);
    owner[i] = own ?? (i === order.length - 1 ? "(roots)" : owner[dominator[i]]);
    const shape = shapes.get(owner[i]) ?? { count: 0, bytes: 0 };
    shapes.set(owner[i], shape);
    if (own !== null) shape.count++;
    shape.bytes += graph.bytes(node);
  }
  return shapes;
}

/** The growth between two heaps, for each of `units`, the largest first. */
export function growthOf(before, after, units) {
  const rows = [...after].map(([shape, { count, bytes }]) => {
    const then = before.get(shape) ?? { count: 0, bytes: 0 };
    return { shape, count: (count - then.count) / units, bytes: (bytes - then.bytes) / units };
  });
  return rows.sort((left, right) => right.bytes - left.bytes);
}
