// The parts of the browser that the tools use. The project is compiled without the types of browsers, because most of it
// runs on servers.

/** An element of a page. */
export interface Element {
  textContent: string | null;
  className: string;
  onclick: (() => void) | null;
  append(...children: (Element | string)[]): void;
  replaceChildren(...children: (Element | string)[]): void;
  setAttribute(name: string, value: string): void;
  addEventListener(type: string, listener: () => void): void;
}

/** The tree inside of an element. */
export interface ShadowRoot extends Element {
  adoptedStyleSheets: unknown[];
}

interface Browser {
  readonly document?: { createElement(name: string): Element };
  readonly HTMLElement?: new () => { attachShadow(options: { mode: "open" }): ShadowRoot };
  readonly CSSStyleSheet?: new () => { replaceSync(text: string): void };
  readonly customElements?: { get(name: string): unknown; define(name: string, element: unknown): void };
}

/** The browser, as far as there is one. */
export const browser = globalThis as Browser;

/** Makes an element with a text, or with children. */
export function make(name: string, content: string | readonly Element[] = "", className = ""): Element {
  const element = browser.document?.createElement(name);
  if (element === undefined) throw new Error("there is no page");
  // A text is never read as HTML: documents of other users are shown.
  if (typeof content === "string") element.textContent = content;
  else element.append(...content);
  if (className !== "") element.className = className;
  return element;
}
