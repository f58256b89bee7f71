import { autocompletion, closeBrackets, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import {
  bracketMatching,
  foldGutter,
  HighlightStyle,
  indentOnInput,
  syntaxHighlighting,
} from "@codemirror/language";
import { type Diagnostic, lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { EditorState, type Text } from "@codemirror/state";
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  highlightSpecialChars,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { completeYaml } from "./complete.ts";
import { completeNames } from "./complete-names.ts";
import { editorTheme } from "./editor-theme.ts";
import type { Problem } from "./problem.ts";
import type { RuleNames } from "./rule-names.ts";

/** An editor in the page. */
export interface RulesEditor {
  readonly setText: (text: string) => void;
  readonly showProblems: (problems: readonly Problem[]) => void;
  readonly goTo: (line: number) => void;
  readonly destroy: () => void;
}

const highlight = HighlightStyle.define([
  { tag: tags.propertyName, color: "var(--code-key)" },
  { tag: [tags.definition(tags.propertyName)], color: "var(--code-key)" },
  { tag: [tags.string, tags.content], color: "var(--code-text)" },
  { tag: tags.comment, color: "var(--muted)", fontStyle: "italic" },
  { tag: [tags.keyword, tags.meta, tags.labelName], color: "var(--code-word)" },
]);

/**
 * Makes an editor in a shadow tree. There its styles are constructed style sheets, which the content security policy
 * of the page allows. In the page itself they would be inline styles, which it forbids.
 */
export function makeEditor(
  host: HTMLElement,
  text: string,
  { onText, names }: { readonly onText: (text: string) => void; readonly names: RuleNames },
): RulesEditor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: text,
      extensions: [
        lineNumbers(),
        foldGutter(),
        highlightSpecialChars(),
        history(),
        drawSelection(),
        indentOnInput(),
        bracketMatching(),
        closeBrackets(),
        highlightActiveLine(),
        highlightActiveLineGutter(),
        lintGutter(),
        yaml(),
        syntaxHighlighting(highlight),
        autocompletion({ override: [completeYaml, completeNames(names)], icons: false }),
        keymap.of([...defaultKeymap, ...historyKeymap, ...completionKeymap, ...lintKeymap, indentWithTab]),
        EditorView.contentAttributes.of({ "aria-label": "The configuration, in YAML", tabindex: "0" }),
        EditorView.updateListener.of(({ docChanged, state }) => {
          if (docChanged) onText(state.doc.toString());
        }),
        editorTheme,
      ],
    }),
  });
  return {
    setText: (wanted) => {
      const { doc } = view.state;
      if (doc.toString() === wanted) return;
      view.dispatch({ changes: { from: 0, to: doc.length, insert: wanted } });
    },
    showProblems: (problems) => {
      const diagnostics = problems.map((problem) => diagnosticOf(view.state.doc, problem));
      view.dispatch(setDiagnostics(view.state, diagnostics));
    },
    goTo: (line) => {
      const { from } = view.state.doc.line(Math.min(Math.max(1, line), view.state.doc.lines));
      view.dispatch({
        selection: { anchor: from },
        effects: EditorView.scrollIntoView(from, { y: "center" }),
      });
      view.focus();
    },
    destroy: () => view.destroy(),
  };
}

/** Marks the rest of the line, because a problem has a beginning only. */
function diagnosticOf(doc: Text, { line, column, message }: Problem): Diagnostic {
  const { from: lineStart, to } = doc.line(Math.min(Math.max(1, line), doc.lines));
  const from = Math.min(lineStart + Math.max(0, column - 1), to);
  return { from, to, severity: "error", message };
}
