import { type ReactNode, useCallback, useEffect, useRef, useState } from "react";
import { Dialog } from "../ui/dialog.tsx";
import { goTo } from "./route.ts";
import type { View } from "./views.tsx";

/** How long the second key of a shortcut may take. */
const SEQUENCE_MS = 1_500;

/** Texts are typed into these: keys are no shortcuts there. */
function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(?:INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

/** Watches the keys: `g` and the key of a view, `/` for the search of the view, `?` for the list. */
export function useShortcuts(views: readonly View[]) {
  const [isOpen, setIsOpen] = useState(false);
  const beganAtMs = useRef(Number.NEGATIVE_INFINITY);
  const open = useCallback(() => setIsOpen(true), []);
  const close = useCallback(() => setIsOpen(false), []);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      // The target of a key in a shadow tree is its host: the first of the path is the editor itself.
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.composedPath()[0] ?? null)) return;
      const isSecond = event.timeStamp - beganAtMs.current < SEQUENCE_MS;
      beganAtMs.current = event.key === "g" ? event.timeStamp : Number.NEGATIVE_INFINITY;
      const view = isSecond ? views.find(({ key }) => key === event.key) : undefined;
      if (view !== undefined) goTo(view.path);
      else if (event.key === "?") setIsOpen(true);
      else if (event.key === "/") document.querySelector<HTMLElement>("[data-search]")?.focus();
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [views]);
  return { isOpen, open, close };
}

interface HelpProps {
  readonly views: readonly View[];
  readonly isOpen: boolean;
  readonly close: () => void;
}

/** The list of all shortcuts. */
export function ShortcutHelp({ views, isOpen, close }: HelpProps): ReactNode {
  const rows: readonly (readonly [keys: readonly string[], effect: string])[] = [
    ...views.map(({ key, title }) => [["g", key], `Go to ${title}`] as const),
    [["/"], "Go to the search of the view"],
    [["Ctrl", "Space"], "Complete, in the editor"],
    [["Esc", "Tab"], "Leave the editor; Tab alone indents"],
    [["Enter"], "Open the details of the selected row"],
    [["Esc"], "Close a dialog"],
    [["?"], "Show this list"],
  ];
  return (
    <Dialog title="Keys" isOpen={isOpen} onClose={close}>
      <dl className="keys">
        {rows.map(([keys, effect]) => (
          <div key={effect}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{effect}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
