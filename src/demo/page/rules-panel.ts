import { amount } from "../../protocol/amount.ts";
import type { RulesText } from "../page-api.ts";
import type { Mark } from "../view.ts";
import { api, pause, rulesGeneration } from "./api.ts";
import { byId, capitalized, element, setText } from "./element.ts";
import { diffLines } from "./text-diff.ts";

/** Suggested edits: a part of the rules, and its replacement. */
const PRESETS = [
  {
    title: "Ben sees the margin",
    off: "fields: { exclude: [margin, courier] }",
    on: "fields: { exclude: [courier] }",
  },
  {
    title: "Cleo sees every ride",
    off: 'filter: { courier: "%%user.sub", status: { $in: [ready, riding] } }',
    on: "filter: { status: { $in: [ready, riding] } }",
  },
  {
    title: "Ben has no access",
    off: 'when: { "%%user.sub": { $exists: true } }',
    on: 'when: { "%%user.sub": { $exists: true, $ne: ben } }',
  },
] as const;

const IN_FORCE_WITHIN_MS = 15_000;
const LOOK_EVERY_MS = 100;
/** After the rules are in force, the changes that they cause arrive within this time. */
const SETTLES_WITHIN_MS = 700;

/** The effect of an edit on a viewer: single orders change, or the whole result. */
export type Effect = Mark | "reset" | "access lost" | "access given";

/** The reports of the rules panel. */
export interface RulesEvents {
  /** Other rules are in force. @param areOriginal Whether they are the rules from the start of the demo. */
  inForce(areOriginal: boolean): void;
}

/** The panel that shows, edits and saves the rules in the file, and shows the effect of an edit on each viewer. */
export class RulesPanel {
  readonly #editor = byId<HTMLTextAreaElement>("rules-text");
  readonly #outcome = byId("rules-outcome");
  readonly #events: RulesEvents;
  readonly #presets: readonly HTMLButtonElement[];
  readonly #granted = new Map<string, Map<Effect, number>>();
  readonly #original: string;
  #saved: string;
  /** The text that the service has applied; a preset is on if this contains it, whatever the editor holds. */
  #inForce: string;
  #last: Promise<void> = Promise.resolve();

  constructor(rules: RulesText, events: RulesEvents) {
    this.#events = events;
    this.#saved = rules.text;
    this.#inForce = rules.text;
    this.#original = rules.original;
    setText(byId("rules-file"), rules.file);
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
    this.#last = this.#last
      .then(() => this.#saveAndWait(text.trimEnd()))
      .catch((error: unknown) => {
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
    const before = await rulesGeneration();
    this.#say("", "Saving …");
    this.#granted.clear();
    const { problems, isEdit } = await api.saveRules({ text });
    if (problems.length > 0) {
      this.#refuse(problems);
      return;
    }
    const old = this.#saved;
    this.#saved = text;
    if (!isEdit) {
      this.#applied(text);
      this.#say("good", "Saved. The new text means the same rules as before.");
      return;
    }
    const startedAtMs = performance.now();
    const generation = await this.#newGeneration(before);
    const tookMs = Math.round(performance.now() - startedAtMs);
    this.#applied(text);
    this.#events.inForce(text === this.#original);
    await pause(SETTLES_WITHIN_MS);
    this.#say(
      "good",
      `In force after ${tookMs} ms, without a restart (generation ${generation}). ${this.#effect()}`,
    );
    this.#outcome.append(diffElement(old, text));
  }

  async #newGeneration(before: number | undefined): Promise<number> {
    const endMs = performance.now() + IN_FORCE_WITHIN_MS;
    while (performance.now() < endMs) {
      const now = await rulesGeneration();
      // A service that was killed meanwhile starts with the new rules and restarts its count.
      if (now !== undefined && now !== before) return now;
      await pause(LOOK_EVERY_MS);
    }
    throw new Error("the file is saved, but the service has not applied it; its log says why");
  }

  #refuse(problems: readonly { readonly line: number; readonly message: string }[]): void {
    this.#editor.setAttribute("aria-invalid", "true");
    this.#say("problem", "The service would refuse these rules, so the file is unchanged:");
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

  #applied(text: string): void {
    this.#inForce = text;
    this.#showPresets();
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

/** The changed lines of the file, with the lines around them. */
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
  return element("pre", { class: "diff", "aria-label": "changes in the file" }, ...drawn);
}
