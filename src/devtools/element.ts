import { browser, type Element, make, type ShadowRoot } from "./dom.ts";
import type { Recorder } from "./recorder.ts";

/** The shortest time between two drawings, in milliseconds. */
const DRAW_MS = 250;

const STYLE = `
:host { position: fixed; inset: auto 0 0 0; z-index: 2147483000; font: 12px/1.5 ui-monospace, monospace; color: #1c2733; }
:host([hidden]) { display: none; }
details { background: #f7f9fb; border-top: 1px solid #9fb0c0; max-height: 45vh; overflow: auto; padding: 0 12px; }
summary { cursor: pointer; padding: 4px 0; position: sticky; top: 0; background: inherit; }
table { border-collapse: collapse; width: 100%; margin-bottom: 8px; }
th, td { text-align: left; padding: 2px 10px 2px 0; vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 600; white-space: nowrap; }
h2 { font: inherit; font-weight: 600; margin: 8px 0 2px; }
.live { color: #0a6b3d; } .stopped, .offline { color: #a3231c; }
@media (prefers-color-scheme: dark) {
  :host { color: #dce6ef; } details { background: #17202a; border-color: #3d4f60; }
  .live { color: #5fd39a; } .stopped, .offline { color: #ff9c94; }
}`;

const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;
const size = (bytes: number) => (bytes < 10_000 ? `${bytes} B` : `${Math.round(bytes / 1_000)} kB`);
const clock = (ms: number) => new Date(ms).toISOString().slice(11, 23);

function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  classOf: (row: readonly string[]) => string = () => "",
): Element {
  const cells = (name: string, row: readonly string[]) => row.map((text) => make(name, text));
  const body = rows.map((row) => make("tr", cells("td", row), classOf(row)));
  const header = head.map((text) => {
    const cell = make("th", text);
    cell.setAttribute("scope", "col");
    return cell;
  });
  return make("table", [make("thead", [make("tr", header)]), make("tbody", body)]);
}

/** Draws what a recorder has recorded. */
export class Panel {
  readonly #root: ShadowRoot;
  readonly #recorder: Recorder;
  readonly #summary: Element;
  readonly #content: Element;
  readonly #stop: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isOpen = false;

  constructor(root: ShadowRoot, recorder: Recorder) {
    this.#root = root;
    this.#recorder = recorder;
    this.#summary = make("summary");
    this.#content = make("div");
    const details = make("details", [this.#summary, this.#content]);
    details.addEventListener("toggle", () => {
      this.#isOpen = (details as Element & { readonly open?: boolean }).open === true;
      this.#draw();
    });
    // A style sheet of this form needs no permission of the page's Content-Security-Policy.
    const sheet = browser.CSSStyleSheet === undefined ? undefined : new browser.CSSStyleSheet();
    sheet?.replaceSync(STYLE);
    if (sheet !== undefined) this.#root.adoptedStyleSheets = [sheet];
    this.#root.replaceChildren(details);
    this.#stop = recorder.onChange(() => {
      this.#timer ??= setTimeout(() => this.#draw(), DRAW_MS);
    });
    this.#draw();
  }

  end(): void {
    this.#stop();
    clearTimeout(this.#timer);
    this.#root.replaceChildren();
  }

  #draw(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const recorder = this.#recorder;
    const queries = recorder.queries();
    const connections = recorder.clients.map(
      ({
        client: {
          state: { status, transport },
        },
      }) => `${status} by ${transport}`,
    );
    const live = queries.filter(({ status }) => status === "live").length;
    this.#summary.textContent = `Tidewire: ${connections.join(", ") || "no client"}; ${live} of ${queries.length} queries live; ${recorder.messages} messages, ${size(recorder.bytes)}`;
    if (!this.#isOpen) return;
    const rows = queries.map(
      ({ collection, request, status, rows: count, bytes, ageMs, isFollowed, why }) => [
        collection,
        request,
        isFollowed ? status : `${status}, left`,
        String(count),
        size(bytes),
        ageMs === undefined ? "" : seconds(ageMs),
        why,
      ],
    );
    const { changes, fences, ends, clients } = recorder;
    this.#content.replaceChildren(
      table(
        ["collection", "request", "status", "rows", "size", "cursor age", "why"],
        rows,
        ([, , status = ""]) => status,
      ),
      ...section(
        "Last changes",
        ["at", "change", "cause", "document"],
        changes.map(({ atMs, type, cause, text }) => [clock(atMs), type, cause, text]),
      ),
      ...section(
        "Fences",
        ["at", "time", "outcome", "took"],
        fences.map(({ atMs, time, outcome, tookMs }) => [
          clock(atMs),
          time,
          outcome,
          tookMs === undefined ? "" : seconds(tookMs),
        ]),
      ),
      ...section(
        "Connections that ended",
        ["at", "why"],
        ends.map(({ atMs, text }) => [clock(atMs), text]),
      ),
      ...section(
        "Why the client stopped",
        ["code", "message"],
        clients.flatMap(
          ({
            client: {
              state: { error },
            },
          }) => (error === undefined ? [] : [[error.code, error.message]]),
        ),
      ),
    );
  }
}

/** A titled table with the last row first, or nothing. */
function section(title: string, head: readonly string[], rows: readonly (readonly string[])[]): Element[] {
  return rows.length === 0 ? [] : [make("h2", title), table(head, [...rows].reverse())];
}
