import { type CSSProperties, type ReactNode, useId, useRef, useState } from "react";

interface HintProps {
  readonly children: ReactNode;
  /** The explanation. */
  readonly text: string;
}

/** The widest explanation, in pixels; in the style sheet as well. */
const WIDTH_MAX = 280;

/**
 * A word with an explanation, which the pointer or the focus shows. Its position is relative to the screen, because an
 * area that scrolls would cut it off.
 */
export function Hint({ children, text }: HintProps): ReactNode {
  const id = useId();
  const term = useRef<HTMLButtonElement>(null);
  const [style, setStyle] = useState<CSSProperties | null>(null);
  const show = () => {
    const box = term.current?.getBoundingClientRect();
    if (box === undefined) return;
    const left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - WIDTH_MAX - 8));
    setStyle({ left, top: box.bottom + 6 });
  };
  const hide = () => setStyle(null);
  return (
    <>
      <button
        ref={term}
        type="button"
        className="term"
        aria-describedby={id}
        onPointerEnter={show}
        onPointerLeave={hide}
        onFocus={show}
        onBlur={hide}
        onKeyDown={({ key }) => (key === "Escape" ? hide() : undefined)}
      >
        {children}
      </button>
      <span role="tooltip" id={id} className={style === null ? "tip hidden" : "tip"} style={style ?? {}}>
        {text}
      </span>
    </>
  );
}
