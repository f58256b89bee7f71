import { amount } from "../../protocol/amount.ts";
import type { RulesText } from "../page-api.ts";
import type { Mark } from "../view.ts";
import { api, pause, rulesGeneration } from "./api.ts";
import { byId, capitalized, element, setText } from "./element.ts";
import { diffLines } from "./text-diff.ts";

/** Suggested edits: a part of the rules, and its replacement, in the layout in which a rule set is kept. */
const PRESETS = [
  {
    title: "Ben sees the margin",
    off: "fields: { exclude: [ margin, courier ] }",
    on: "fields: { exclude: [ courier ] }",
  },
  {
    title: "Cleo sees every ride",
    off: 'filter: { courier: "%%user.sub", status: { $in: [ ready, riding ] } }',
    on: "filter: { status: { $in: [ ready, riding ] } }",
  },
  {
    title: "Ben has no access",
    off: 'when: { "%%user.sub": { $exists: true } }',
    on: 'when: { "%%user.sub": { $exists: true, $ne: ben } }',
  },
] as const;

const IN_FORCE_WITHIN_MS = 15_000;
const LOOK_EVERY_MS = 100;
/** How often the page looks whether an edit was applied elsewhere. */
const WATCH_EVERY_MS = 1_000;
/** After the rules are in force, the changes that they cause arrive within this time. */
const SETTLES_WITHIN_MS = 700;

/** The effect of an edit on a viewer: single orders change, or the whole result. */
export type Effect = Mark | "reset" | "access lost" | "access given";

/** The reports of the rules panel. */
export interface RulesEvents {
  /** Other rules are in force. @param areOriginal Whether they are the rules from the start of the demo. */
  inForce(areOriginal: boolean): void;
}

/** The panel that shows and edits the rules in force, and shows the effect of an edit on each viewer. */
export class RulesPanel {
  readonly #editor = byId<HTMLTextAreaElement>("rules-text");
  readonly #outcome = byId("rules-outcome");
  readonly #events: RulesEvents;
  readonly #presets: readonly HTMLButtonElement[];
  readonly #granted = new Map<string, Map<Effect, number>>();
  readonly #original: string;
  /** The set whose text was last loaded into the editor, or saved from it. */
  #set: number;
  /** The latest set that the panel has shown the effect of. */
  #seen: number;
  #saved: string;
  /** The text that the service has applied; a preset is on if this contains it, whatever the editor holds. */
  #inForce: string;
  #last: Promise<void> = Promise.resolve();

  constructor(rules: RulesText, events: RulesEvents) {
    this.#events = events;
    this.#set = rules.set;
    this.#seen = rules.set;
    this.#saved = rules.text;
    this.#inForce = rules.text;
    this.#original = rules.original;
    this.#presets = PRESETS.map(({ title, off, on }) => {
      const button = element("button", { type: "button", "aria-pressed": "false" }, title);
      button.addEventListener("click", () => {
        const { value } = this.#editor;
        this.#save(value.includes(off) ? value.replace(off, on) : value.replace(on, off));
      });
      return button;
    });
    byId("rules-presets").append(...this.#presets);
    byId("rules-save").addEventListener("click", () => this.#save(this.#editor.value));
    byId("rules-restore").addEventListener("click", () => this.#save(this.#original));
    this.#editor.addEventListener("input", () => this.#showPresets());
    this.#editor.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.#save(this.#editor.value);
    });
    this.#show(rules.text);
    this.#showSet();
    // A service that is killed meanwhile is asked again later.
    setInterval(() => this.#enqueue(() => this.#look().catch(() => {})), WATCH_EVERY_MS);
  }

  /** A viewer received a change of rights. */
  granted(viewer: string, effect: Effect): void {
    const effects = this.#granted.get(viewer) ?? new Map<Effect, number>();
    effects.set(effect, (effects.get(effect) ?? 0) + 1);
    this.#granted.set(viewer, effects);
  }

  /** Saves after the previous edit has taken effect, so that each edit shows its own effect only. */
  #save(text: string): void {
    this.#show(text);
    this.#editor.removeAttribute("aria-invalid");
    this.#enqueue(() => this.#saveAndWait(text.trimEnd()));
  }

  #enqueue(run: () => Promise<void>): void {
    this.#last = this.#last.then(run).catch((error: unknown) => {
      this.#say(
        "problem",
        `The rules were not saved: ${error instanceof Error ? error.message : String(error)}`,
      );
    });
  }

  async #saveAndWait(text: string): Promise<void> {
    if (text === this.#saved) {
      this.#say("", "There is nothing to save.");
      return;
    }
    this.#say("", "Saving …");
    this.#granted.clear();
    const { problems, set, inForce } = await api.saveRules({ text, set: this.#set });
    if (problems.length > 0) {
      this.#refuse(problems);
      // The reader has seen that there is another edit, and may replace it.
      if (inForce !== null) this.#set = inForce;
      return;
    }
    if (set === null) {
      this.#say("good", "The text means the same rules as those in force, so nothing was applied.");
      return;
    }
    const old = this.#saved;
    this.#saved = text;
    this.#set = set;
    const startedAtMs = performance.now();
    await this.#untilInForce(set);
    const tookMs = Math.round(performance.now() - startedAtMs);
    await this.#applied(text, set);
    this.#say("good", `In force after ${tookMs} ms, without a restart (rule set ${set}). ${this.#effect()}`);
    this.#outcome.append(diffElement(old, text));
  }

  async #untilInForce(set: number): Promise<void> {
    const endMs = performance.now() + IN_FORCE_WITHIN_MS;
    while (performance.now() < endMs) {
      if (((await rulesGeneration()) ?? 0) >= set) return;
      await pause(LOOK_EVERY_MS);
    }
    throw new Error("the rule set is saved, but the service has not applied it; its log says why");
  }

  /** Shows an edit that was applied elsewhere, such as in the console. Text that was not saved stays in the editor. */
  async #look(): Promise<void> {
    if (((await rulesGeneration()) ?? 0) <= this.#seen) return;
    const { set, text } = await api.rules();
    const old = this.#inForce;
    if (this.#editor.value.trimEnd() === this.#saved) {
      this.#set = set;
      this.#saved = text;
      this.#show(text);
    }
    await this.#applied(text, set);
    this.#say("good", `Rule set ${set} was applied outside this panel and is in force. ${this.#effect()}`);
    this.#outcome.append(diffElement(old, text));
    this.#granted.clear();
  }

  #refuse(problems: readonly { readonly line: number; readonly message: string }[]): void {
    this.#editor.setAttribute("aria-invalid", "true");
    this.#say("problem", "Nothing was applied:");
    const items = problems.map(({ line, message }) => element("li", {}, `line ${line}: ${message}`));
    this.#outcome.append(element("ul", {}, ...items));
  }

  #effect(): string {
    const words: Readonly<Record<Mark, string>> = { "+": "entered", "~": "changed", "-": "left" };
    const texts = Array.from(this.#granted, ([viewer, effects]) => {
      const parts = Array.from(effects, ([effect, number]) =>
        effect in words ? `${amount(number, "order")} ${words[effect as Mark]}` : effect,
      );
      return `${capitalized(viewer)}: ${parts.join(", ")}`;
    });
    return texts.length === 0 ? "No view has changed." : `Caused by the rules: ${texts.join("; ")}.`;
  }

  #say(kind: "" | "good" | "problem", text: string): void {
    this.#outcome.className = kind;
    this.#outcome.replaceChildren(element("p", {}, text));
  }

  /** Other rules are in force. The changes that they cause arrive soon after. */
  async #applied(text: string, set: number): Promise<void> {
    this.#inForce = text;
    this.#seen = set;
    this.#showPresets();
    this.#showSet();
    this.#events.inForce(text === this.#original);
    await pause(SETTLES_WITHIN_MS);
  }

  #showSet(): void {
    setText(byId("rules-set"), String(this.#seen));
  }

  #show(text: string): void {
    this.#editor.value = text;
    this.#showPresets();
  }

  #showPresets(): void {
    const { value } = this.#editor;
    PRESETS.forEach(({ on, off }, index) => {
      const button = this.#presets[index];
      const isOn = !this.#inForce.includes(off) && this.#inForce.includes(on);
      button?.setAttribute("aria-pressed", String(isOn));
      button?.toggleAttribute("disabled", !value.includes(off) && !value.includes(on));
    });
  }
}

/** The changed lines of the rules, with the lines around them. */
function diffElement(before: string, after: string): HTMLElement {
  const lines = diffLines(before, after);
  const isNear = (index: number) =>
    lines.slice(Math.max(0, index - 1), index + 2).some(({ is }) => is !== "kept");
  const shown = lines.filter((_, index) => isNear(index));
  const line = { class: "diff-line" };
  const drawn = shown.map(({ is, text }) => {
    if (is === "kept") return element("span", line, `  ${text}`);
    return is === "added" ? element("ins", line, `+ ${text}`) : element("del", line, `- ${text}`);
  });
  return element("pre", { class: "diff", "aria-label": "changes of the rules" }, ...drawn);
}
