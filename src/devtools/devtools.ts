/** Tools for developers: `<tidewire-devtools>` shows what the clients of a page do. */
import { browser, type ShadowRoot } from "./dom.ts";
import { Panel } from "./element.ts";
import { Recorder } from "./recorder.ts";

export type { Recorder };

/** The recorder that elements show which have none of their own. */
let latest: Recorder | undefined;

/**
 * Makes a recorder for the option `devtools` of `createClient`, and defines the element `<tidewire-devtools>`. Several clients
 * may share one.
 */
export function createDevtools(): Recorder {
  define();
  latest = new Recorder();
  return latest;
}

function define(): void {
  const { HTMLElement, customElements } = browser;
  // On a server there is nothing to show.
  if (HTMLElement === undefined || customElements === undefined) return;
  if (customElements.get("tidewire-devtools") !== undefined) return;
  class TidewireDevtools extends HTMLElement {
    #root: ShadowRoot | undefined;
    #panel: Panel | undefined;
    #recorder: Recorder | undefined;

    /** The recorder that this element shows. Default: the one that was made last. */
    get devtools(): Recorder | undefined {
      return this.#recorder ?? latest;
    }

    set devtools(recorder: Recorder | undefined) {
      this.#recorder = recorder;
      if (this.#panel !== undefined) this.connectedCallback();
    }

    connectedCallback(): void {
      this.#root ??= this.attachShadow({ mode: "open" });
      this.#panel?.end();
      this.#panel = this.devtools === undefined ? undefined : new Panel(this.#root, this.devtools);
    }

    disconnectedCallback(): void {
      this.#panel?.end();
      this.#panel = undefined;
    }
  }
  customElements.define("tidewire-devtools", TidewireDevtools);
}
