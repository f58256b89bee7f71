import { STATUSES } from "../order.ts";
import type { Mark, Shown } from "../view.ts";
import { element, setText } from "./element.ts";

type Field = keyof Shown;

/** The possible columns, in order. The rules decide which of them a viewer sees. */
const COLUMNS: readonly { readonly field: Field; readonly title: string; readonly isAmount?: boolean }[] = [
  { field: "_id", title: "Order" },
  { field: "status", title: "Status" },
  { field: "customer", title: "For" },
  { field: "address", title: "To" },
  { field: "courier", title: "By" },
  { field: "total", title: "Total", isAmount: true },
  { field: "margin", title: "Margin", isAmount: true },
];

const MARKS: Readonly<Record<Mark, { glyph: string; text: string; style: string }>> = {
  "+": { glyph: "+", text: "entered", style: "entered" },
  "~": { glyph: "~", text: "changed", style: "changed" },
  "-": { glyph: "−", text: "left", style: "left" },
};

/** How long a row keeps its mark, in milliseconds. A row that has left stays visible for this time. */
const MARKED_FOR_MS = 2_200;
const LEAVING_MS = 1_100;
const MOVE_MS = 320;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

interface Row {
  readonly element: HTMLTableRowElement;
  readonly cells: ReadonlyMap<Field, HTMLTableCellElement>;
  readonly mark: HTMLTableCellElement;
  shown: Shown;
  isLeaving: boolean;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** A viewer's orders, newest first. Marks show them enter, change and leave. */
export class OrderTable {
  readonly element: HTMLTableElement;
  readonly #head = element("tr");
  readonly #body = element("tbody");
  readonly #rows = new Map<number, Row>();
  #fields: ReadonlySet<Field> = new Set();

  constructor(caption: string) {
    this.element = element(
      "table",
      { class: "orders" },
      element("caption", { class: "visually-hidden" }, caption),
      element("thead", {}, this.#head),
      this.#body,
    );
  }

  /** @param silently Shows no marks, because the first result is not a change. */
  show(docs: readonly Shown[], silently: boolean): void {
    const isKnown = this.#showColumns(docs);
    const tops = this.#tops();
    const held = new Set(docs.map(({ _id }) => _id));
    for (const [id, row] of this.#rows) if (!held.has(id)) this.#leave(id, row, silently);
    for (const doc of docs) this.#put(doc, silently || isKnown(doc._id));
    this.#glide(tops);
  }

  /** @returns The orders that were already visible and are only drawn again. */
  #showColumns(docs: readonly Shown[]): (id: number) => boolean {
    const fields = new Set(docs.flatMap((doc) => Object.keys(doc) as Field[])); // documents are orders, or parts of them
    // An empty result keeps the previous columns.
    const isSame = docs.length === 0 || [...fields].sort().join() === [...this.#fields].sort().join();
    if (isSame && this.#fields.size > 0) return () => false;
    const isFirst = this.#fields.size === 0;
    const before = this.#fields;
    this.#fields = fields;
    const known = new Set(this.#rows.keys());
    for (const row of this.#rows.values()) clearTimeout(row.timer);
    this.#rows.clear();
    this.#body.replaceChildren();
    const titles = this.#columns.map(({ field, title, isAmount }) => {
      const isNew = !isFirst && !before.has(field);
      const style = `${field}${isAmount ? " amount" : ""}${isNew ? " revealed" : ""}`;
      return element("th", { scope: "col", class: style }, title);
    });
    this.#head.replaceChildren(element("td", { class: "mark" }), ...titles);
    return (id) => known.has(id);
  }

  get #columns() {
    return COLUMNS.filter(({ field }) => this.#fields.has(field));
  }

  #put(doc: Shown, silently: boolean): void {
    const row = this.#rows.get(doc._id);
    if (row === undefined || row.isLeaving) {
      if (row !== undefined) this.#remove(doc._id, row);
      const made = this.#makeRow(doc);
      this.#rows.set(doc._id, made);
      this.#insert(made);
      if (!silently) this.#mark(made, "+");
    } else if (row.shown !== doc) {
      const before = row.shown;
      row.shown = doc;
      const changed = this.#fill(row, before);
      if (!silently && changed) this.#mark(row, "~");
    }
  }

  #makeRow(shown: Shown): Row {
    const mark = element("td", { class: "mark" });
    const cells = new Map(
      this.#columns.map(({ field, isAmount }) => {
        const style = `${field}${isAmount ? " amount" : ""}`;
        const isName = field === "_id";
        return [field, element(isName ? "th" : "td", { class: style, ...(isName ? { scope: "row" } : {}) })];
      }),
    );
    const made = element("tr", {}, mark, ...cells.values());
    const row: Row = { element: made, cells, mark, shown, isLeaving: false, timer: undefined };
    this.#fill(row, undefined);
    return row;
  }

  /** @returns Whether anything looks different. */
  #fill({ cells, shown }: Row, before: Shown | undefined): boolean {
    let isAny = false;
    for (const [field, cell] of cells) {
      const text = textOf(shown, field);
      const isSame = before !== undefined && textOf(before, field) === text;
      if (isSame) continue;
      isAny = true;
      if (field === "status") cell.replaceChildren(statusBadge(text));
      else setText(cell, text);
      if (before !== undefined) flash(cell);
    }
    return isAny;
  }

  #insert({ element: made, shown }: Row): void {
    const next = [...this.#rows.values()]
      .filter((other) => other.shown._id < shown._id)
      .sort((a, b) => b.shown._id - a.shown._id)[0];
    this.#body.insertBefore(made, next?.element ?? null);
  }

  #leave(id: number, row: Row, silently: boolean): void {
    if (row.isLeaving) return;
    row.isLeaving = true;
    if (silently) {
      this.#remove(id, row);
      return;
    }
    this.#mark(row, "-");
    clearTimeout(row.timer);
    row.timer = setTimeout(() => {
      const tops = this.#tops();
      this.#remove(id, row);
      this.#glide(tops);
    }, LEAVING_MS);
  }

  #remove(id: number, row: Row): void {
    clearTimeout(row.timer);
    row.element.remove();
    if (this.#rows.get(id) === row) this.#rows.delete(id);
  }

  #mark(row: Row, mark: Mark): void {
    const { glyph, text, style } = MARKS[mark];
    row.mark.replaceChildren(
      element("span", { "aria-hidden": "true" }, glyph),
      element("span", { class: "visually-hidden" }, text),
    );
    row.element.className = style;
    clearTimeout(row.timer);
    row.timer = setTimeout(() => {
      row.element.className = "";
      row.mark.replaceChildren();
    }, MARKED_FOR_MS);
  }

  #tops(): Map<HTMLElement, number> {
    const rows = calm.matches ? [] : [...this.#rows.values()];
    return new Map(rows.map(({ element: row }) => [row, row.offsetTop]));
  }

  /** Animates rows to their new positions. */
  #glide(tops: ReadonlyMap<HTMLElement, number>): void {
    for (const [row, top] of tops) {
      const moved = top - row.offsetTop;
      if (!row.isConnected || moved === 0) continue;
      row.animate([{ transform: `translateY(${moved}px)` }, { transform: "none" }], {
        duration: MOVE_MS,
        easing: "cubic-bezier(.2,.7,.2,1)",
      });
    }
  }
}

function textOf(shown: Shown, field: Field): string {
  const value = shown[field];
  if (value === undefined || value === null) return "";
  return field === "total" || field === "margin" ? Number(value).toFixed(2) : String(value);
}

/** Draws the step of a status beside its name. */
function statusBadge(status: string): HTMLElement {
  const step = (STATUSES as readonly string[]).indexOf(status) + 1;
  return element("span", { class: `badge step-${step}` }, status);
}

function flash(cell: HTMLElement): void {
  cell.classList.remove("flash");
  // Reading a size forces a layout, so that the animation restarts.
  void cell.offsetWidth;
  cell.classList.add("flash");
}
