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
    const updated = this.#updated.get(doc) ?? this.#update(doc);
    this.#updated.set(doc, updated);
    return updated;
  }

  /** An error of the application's function is reported like any uncaught error. It must not end every read of a query. */
  #update(doc: Doc): Doc {
    const { step } = this;
    try {
      return step.type === "update" ? step.to(doc) : doc;
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
      return doc;
    }
  }
}

const indexOf = (docs: readonly Doc[], key: string) => docs.findIndex(({ _id }) => keyOf(_id) === key);
const without = (docs: readonly Doc[], at: number) => [...docs.slice(0, at), ...docs.slice(at + 1)];

/** A document with all pending changes of it. */
interface Folded {
  /** `undefined`: it is not shown. */
  readonly doc: Doc | undefined;
  /** Whether the service has sent its fields. The application may have inserted it without all of them. */
  readonly isComplete: boolean;
}

/** The pending changes over the result of one query. */
export class Overlay {
  readonly #request: LiveRequest;
  readonly #fields: string;
  /** In the order of the writes, each with the document that the service had sent before. */
  readonly #pending = new Map<Pending, Doc | undefined>();
  /**
   * Changes of documents that the service has sent. From then on its word counts, also when it removes them. Only the
   * first change of a document is here, because the service may remove the document for an earlier one.
   */
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
    // The documents that the service has sent until now have the effect of this change, and not of those after it.
    for (const other of this.#changesOf(pending.step.key)) this.#pending.set(other, this.#held(other));
    this.#last = undefined;
  }

  clear(): void {
    this.#pending.clear();
    this.#last = undefined;
  }

  /** Whether the documents that the service has sent show the change themselves. */
  hasArrived(pending: Pending): boolean {
    const { step } = pending;
    const held = this.#held(pending);
    if (step.type === "insert") return held !== undefined || this.#arrived.has(pending);
    if (step.type === "remove") return held === undefined;
    // Another version of the document shows that the first change has arrived, and nothing about a later one.
    const isFirst = this.#changesOf(step.key)[0] === pending;
    if (isFirst && held !== this.#pending.get(pending)) return true;
    return held !== undefined && JSON.stringify(pending.updated(held)) === JSON.stringify(held);
  }

  #changesOf(key: string): Pending[] {
    return [...this.#pending.keys()].filter(({ step }) => step.key === key);
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
    for (const key of new Set(Array.from(this.#pending.keys(), ({ step }) => step.key))) {
      const sent = docs[indexOf(docs, key)];
      shown = this.#place(shown, sent, this.#fold(sent, this.#changesOf(key)));
    }
    const { limit = Number.POSITIVE_INFINITY } = this.#request;
    if (shown.length > limit) shown = shown.slice(0, limit);
    this.#last = { docs, shown: shown === docs ? docs : Object.freeze(shown) };
    return this.#last.shown;
  };

  /** Applies all changes of one document, in the order of the writes. Its place follows from the result of all of them. */
  #fold(sent: Doc | undefined, changes: readonly Pending[]): Folded {
    let doc = sent;
    let isComplete = true;
    /** Whether a change, or somebody else, has removed it. Later updates do not bring it back. */
    let isRemoved = false;
    for (const [at, pending] of changes.entries()) {
      const { step } = pending;
      if (at === 0 && sent !== undefined) this.#arrived.add(pending);
      const hasLeft = sent === undefined && this.#arrived.has(pending);
      if (step.type === "remove" || (step.type === "insert" && hasLeft)) {
        doc = undefined;
        isRemoved = true;
      } else if (step.type === "insert") {
        isComplete = doc !== undefined;
        doc ??= step.doc;
      } else {
        const before = doc ?? (isRemoved ? undefined : pending.known(this.#fields));
        if (before === undefined) continue;
        pending.note(this.#fields, before);
        doc = pending.updated(before);
        // The service has removed it. Either this change is the reason, and a later one may undo it, or somebody else is.
        isRemoved = hasLeft && this.#matches(doc, isComplete) !== false;
        if (isRemoved) doc = undefined;
      }
    }
    return { doc, isComplete };
  }

  #place(shown: readonly Doc[], sent: Doc | undefined, { doc, isComplete }: Folded): readonly Doc[] {
    if (doc === sent) return shown;
    const at = sent === undefined ? -1 : shown.indexOf(sent);
    const rest = at < 0 ? shown : without(shown, at);
    const match = doc !== undefined && this.#matches(doc, isComplete);
    if (doc === undefined || match === false) return rest;
    // A document that the query does not hold enters it only if it certainly matches.
    if (sent === undefined && isComplete && match === undefined) return shown;
    const { sort = [] } = this.#request;
    const isMoved = sent === undefined || compareDocs(sent, doc, sort) !== 0;
    return isMoved ? this.#insert(rest, doc) : [...shown.slice(0, at), doc, ...shown.slice(at + 1)];
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
