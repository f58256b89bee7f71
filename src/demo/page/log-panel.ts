import { ChangeLog, type LogEntry } from "../change-log.ts";
import type { Applied, Mark } from "../view.ts";
import { capitalized, element } from "./element.ts";

const SHOWN_MAX = 20;

const TOLD: Readonly<Record<Mark, { glyph: string; text: string; style: string }>> = {
  "+": { glyph: "+", text: "enters", style: "entered" },
  "~": { glyph: "~", text: "changes", style: "changed" },
  "-": { glyph: "−", text: "leaves", style: "left" },
};

/** How a viewer received a write. */
export interface Hearing {
  /** The change arrived by a catch-up, after the line was cut. */
  readonly isLate: boolean;
  readonly isDeletion: boolean;
}

/** One line per write, with the change that each viewer received. */
export class LogPanel {
  readonly #viewers: readonly string[];
  readonly #body: HTMLElement;
  readonly #log = new ChangeLog();
  readonly #rows = new Map<LogEntry, HTMLTableRowElement>();
  /** Viewers that received the write only after a disconnection. */
  readonly #late = new WeakMap<LogEntry, Set<string>>();
  readonly #deletions = new WeakSet<LogEntry>();
  #isDue = false;

  constructor(table: HTMLElement, viewers: readonly string[]) {
    this.#viewers = viewers;
    const titles = ["Time", "Order", "The write", ...viewers.map(capitalized)];
    const styles = ["time", "id", "what", ...viewers.map(() => "told")];
    const heads = titles.map((title, at) => element("th", { scope: "col", class: styles[at] ?? "" }, title));
    this.#body = element("tbody");
    table.append(element("thead", {}, element("tr", {}, ...heads)), this.#body);
  }

  add(viewer: string, applied: Applied, { isLate, isDeletion }: Hearing): void {
    const entry = this.#log.add(viewer, applied, Date.now());
    if (isDeletion) this.#deletions.add(entry);
    if (isLate) this.#late.set(entry, (this.#late.get(entry) ?? new Set()).add(viewer));
    // The line is drawn again with the new change.
    this.#rows.get(entry)?.remove();
    this.#rows.delete(entry);
    if (this.#isDue) return;
    // Many changes can arrive at once, so the panel draws once per frame.
    this.#isDue = true;
    requestAnimationFrame(() => this.#draw());
  }

  #draw(): void {
    this.#isDue = false;
    const shown = this.#log.latest.slice(-SHOWN_MAX).reverse();
    for (const [entry, row] of this.#rows) {
      if (shown.includes(entry)) continue;
      row.remove();
      this.#rows.delete(entry);
    }
    shown.forEach((entry, index) => {
      const row = this.#rows.get(entry) ?? this.#makeRow(entry);
      this.#rows.set(entry, row);
      const at = this.#body.children[index];
      if (at !== row) this.#body.insertBefore(row, at ?? null);
    });
  }

  #makeRow(entry: LogEntry): HTMLTableRowElement {
    const { atMs, id, text, marks } = entry;
    const told = this.#viewers.map((viewer) => {
      const mark = marks.get(viewer);
      if (mark === undefined) return element("td", { class: "told" }, silence());
      const { glyph, text: words, style } = TOLD[mark];
      const isLate = this.#late.get(entry)?.has(viewer) === true;
      const late = isLate ? " late" : "";
      return element(
        "td",
        { class: `told ${style}${late}` },
        element("span", { class: "sign", "aria-hidden": "true" }, glyph),
        ` ${words}${late}`,
      );
    });
    const time = new Date(atMs).toTimeString().slice(0, 8);
    return element(
      "tr",
      { class: Date.now() - atMs < 1_000 ? "fresh" : "" },
      element("td", { class: "time" }, time),
      element("td", { class: "id" }, String(id)),
      element("td", { class: "what" }, text || (this.#deletions.has(entry) ? "deleted" : "a write")),
      ...told,
    );
  }
}

const silence = () =>
  element(
    "span",
    { class: "silence" },
    "–",
    element("span", { class: "visually-hidden" }, " nothing received"),
  );
