import { element } from "./element.ts";

/** The counters of a card. */
const COUNTS = {
  changes: "changes",
  resumed: "resumed",
  madeUp: "caught up",
  tokens: "tokens renewed",
} as const;
/** A number that a card shows. */
export type Count = keyof typeof COUNTS;

/** The label of the button that cuts the connection. */
export const CUT = "Disconnect";

/** The parts of a card that change. */
export interface CardParts {
  readonly table: HTMLElement;
  readonly state: HTMLElement;
  readonly count: HTMLElement;
  readonly sees: HTMLElement;
  readonly plug: HTMLElement;
  readonly check: HTMLElement;
  readonly verdict: HTMLElement;
  readonly numbers: Readonly<Record<Count, HTMLElement>>;
}

/** Makes the parts of a card around the table of its orders. */
export function makeParts(table: HTMLElement): CardParts {
  const number = () => element("dd", {}, "0");
  return {
    table,
    state: element("span", { class: "state" }),
    count: element("span", { class: "count" }),
    sees: element("p"),
    plug: element("button", { type: "button" }, CUT),
    check: element("button", { type: "button" }, "Compare with find"),
    verdict: element("p", { class: "verdict" }),
    numbers: { changes: number(), resumed: number(), madeUp: number(), tokens: number() },
  };
}

/** Builds a card: the viewer's name and role, the numbers, the visible orders, and the buttons. */
export function cardElement(
  name: string,
  title: string,
  role: string,
  parts: CardParts,
  numbers: HTMLElement,
  onlookers: HTMLElement,
): HTMLElement {
  const heading = `${name}-name`;
  // `Object.entries` types its keys as strings; they are the keys of the table.
  const counts = Object.entries(COUNTS).map(([count, text]) =>
    element("div", {}, element("dt", {}, text), parts.numbers[count as Count]),
  );
  const who = element("h2", { id: heading }, title, element("small", {}, role));
  return element(
    "section",
    { class: `card ${name}`, "aria-labelledby": heading },
    element(
      "header",
      {},
      element("span", { class: "avatar", "aria-hidden": "true" }, title.charAt(0)),
      element("div", { class: "who" }, who, parts.sees),
      element("div", { class: "standing" }, parts.state, parts.count),
    ),
    onlookers,
    numbers,
    element("div", { class: "board", tabindex: "0", role: "group", "aria-labelledby": heading }, parts.table),
    element(
      "footer",
      {},
      element("div", { class: "actions" }, parts.plug, parts.check),
      parts.verdict,
      element("dl", {}, ...counts),
    ),
  );
}
