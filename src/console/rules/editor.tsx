import { type ReactNode, useEffect, useRef } from "react";
import { useSession } from "../shell/session.ts";
import { makeEditor, type RulesEditor } from "./make-editor.ts";
import type { Problem } from "./problem.ts";
import { RuleNames } from "./rule-names.ts";

interface EditorProps {
  readonly text: string;
  readonly problems: readonly Problem[];
  readonly onText: (text: string) => void;
  /** The line to show; the number of the request tells two requests for one line apart. */
  readonly goal: { readonly line: number; readonly request: number } | null;
}

/** The editor of a configuration. */
export function Editor({ text, problems, onText, goal }: EditorProps): ReactNode {
  const host = useRef<HTMLDivElement>(null);
  const editor = useRef<RulesEditor | null>(null);
  const report = useRef(onText);
  report.current = onText;
  const first = useRef(text);
  const { api, roles } = useSession();
  const mayAsk = roles.has("edit");
  useEffect(() => {
    if (host.current === null) return;
    const names = new RuleNames(async (collection) =>
      mayAsk ? api.call("ruleNames", collection === null ? {} : { collection }) : null,
    );
    const made = makeEditor(host.current, first.current, {
      onText: (edited) => report.current(edited),
      names,
    });
    editor.current = made;
    return () => made.destroy();
  }, [api, mayAsk]);
  useEffect(() => editor.current?.setText(text), [text]);
  useEffect(() => editor.current?.showProblems(problems), [problems]);
  useEffect(() => {
    if (goal !== null) editor.current?.goTo(goal.line);
  }, [goal]);
  return <div className="editor" ref={host} />;
}
