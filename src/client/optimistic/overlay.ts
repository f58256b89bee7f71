import type { LiveRequest } from "../live-result.ts";
import { type Doc, keyOf } from "../result-set.ts";
import { compareDocs } from "../values.ts";
import type { Step } from "./change.ts";
import { matches } from "./matches.ts";

/** A change that is shown until it is settled, in all queries that it concerns. */
export class Pending {
  readonly step: Step;
  /** The document that an update concerns, by the fields that a query shows of it: another query may hold it. */
  readonly #known = new Map<string, Doc>();
  readonly #updated = new WeakMap<Doc, Doc>();

  constructor(step: Step) {
    this.step = step;
  }

  note(fields: string, doc: Doc): void {
    this.#known.set(fields, doc);
  }

  known(fields: string): Doc | undefined {
    return this.#known.get(fields);
  }

  /** The document after an update: the same object for the same document, so that a page need not redraw it. */
  updated(doc: Doc): Doc {
    const { step } = this;
    if (step.type !== "update") return doc;
    const updated = this.#updated.get(doc) ?? step.to(doc);
    this.#updated.set(doc, updated);
    return updated;
  }
}

const indexOf = (docs: readonly Doc[], key: string) => docs.findIndex(({ _id }) => keyOf(_id) === key);
const without = (docs: readonly Doc[], at: number) => [...docs.slice(0, at), ...docs.slice(at + 1)];

/** The pending changes over the result of one query. */
export class Overlay {
  readonly #request: LiveRequest;
  readonly #fields: string;
  /** Each with the document that the service had sent before. */
  readonly #pending = new Map<Pending, Doc | undefined>();
  /** Changes of documents that the service has sent. From then on its word counts, also when it removes them. */
  readonly #arrived = new WeakSet<Pending>();
  #docs: readonly Doc[] = [];
  #last: { readonly docs: readonly Doc[]; readonly shown: readonly Doc[] } | undefined;

  constructor(request: LiveRequest) {
    this.#request = request;
    this.#fields = JSON.stringify(request.fields ?? null);
  }

  get isEmpty(): boolean {
    return this.#pending.size === 0;
  }

  /** Adds a change to those that are shown. Other queries may lack the document that it concerns. */
  add(pending: Pending): void {
    const held = this.#held(pending);
    this.#pending.set(pending, held);
    if (held !== undefined) pending.note(this.#fields, held);
    this.#last = undefined;
  }

  remove(pending: Pending): void {
    this.#pending.delete(pending);
    this.#last = undefined;
  }

  clear(): void {
    this.#pending.clear();
    this.#last = undefined;
  }

  /** Whether the documents that the service has sent show the change themselves. */
  hasArrived(pending: Pending): boolean {
    const held = this.#held(pending);
    if (pending.step.type === "insert") return held !== undefined || this.#arrived.has(pending);
    return pending.step.type === "remove" ? held === undefined : held !== this.#pending.get(pending);
  }

  /** The document of a change, as the service has sent it. */
  #held({ step }: Pending): Doc | undefined {
    return this.#docs[indexOf(this.#docs, step.key)];
  }

  /** The documents with all pending changes: the same array for the same documents, until a change is added or removed. */
  readonly show = (docs: readonly Doc[]): readonly Doc[] => {
    this.#docs = docs;
    if (this.#last?.docs === docs) return this.#last.shown;
    let shown = docs;
    for (const pending of this.#pending.keys()) shown = this.#apply(shown, docs, pending);
    const { limit = Number.POSITIVE_INFINITY } = this.#request;
    if (shown.length > limit) shown = shown.slice(0, limit);
    this.#last = { docs, shown: shown === docs ? docs : Object.freeze(shown) };
    return this.#last.shown;
  };

  #apply(shown: readonly Doc[], docs: readonly Doc[], pending: Pending): readonly Doc[] {
    const { step } = pending;
    const at = indexOf(shown, step.key);
    const rest = at < 0 ? shown : without(shown, at);
    if (step.type === "remove") return rest;
    if (indexOf(docs, step.key) >= 0) this.#arrived.add(pending);
    const isGone = at < 0 && this.#arrived.has(pending);
    if (step.type === "insert") {
      const isHidden = at >= 0 || isGone || this.#matches(step.doc, false) === false;
      return isHidden ? shown : this.#insert(shown, step.doc);
    }
    const doc = shown[at] ?? pending.known(this.#fields);
    if (doc === undefined || isGone) return shown;
    pending.note(this.#fields, doc);
    const updated = pending.updated(doc);
    const match = this.#matches(updated, true);
    if (match === false) return rest;
    // A document that the query does not hold enters it only if it certainly matches.
    if (at < 0 && match === undefined) return shown;
    const { sort = [] } = this.#request;
    const isMoved = at < 0 || compareDocs(doc, updated, sort) !== 0;
    return isMoved ? this.#insert(rest, updated) : [...shown.slice(0, at), updated, ...shown.slice(at + 1)];
  }

  /** Inserts a document at its position by the sort, or at the end if the query has no sort that the client sees. */
  #insert(docs: readonly Doc[], doc: Doc): readonly Doc[] {
    const { sort } = this.#request;
    const isSorted = sort?.every(([path]) => this.#isVisible(path)) === true;
    const at = isSorted ? docs.findIndex((other) => compareDocs(other, doc, sort) > 0) : -1;
    return at < 0 ? [...docs, doc] : [...docs.slice(0, at), doc, ...docs.slice(at)];
  }

  #matches(doc: Doc, isComplete: boolean): boolean | undefined {
    return matches(this.#request.filter, doc, { isVisible: (path) => this.#isVisible(path), isComplete });
  }

  #isVisible(path: string): boolean {
    const { fields } = this.#request;
    const within = (shown: string) => path === shown || path.startsWith(`${shown}.`);
    return fields === undefined || within("_id") || fields.some(within);
  }
}
