import { type ReactNode, useId } from "react";

interface HintProps {
  readonly children: ReactNode;
  /** The explanation. */
  readonly text: string;
}

/** A word with an explanation, which the pointer or the focus shows. */
export function Hint({ children, text }: HintProps): ReactNode {
  const id = useId();
  return (
    <span className="hinted">
      <button type="button" className="term" aria-describedby={id}>
        {children}
      </button>
      <span role="tooltip" id={id}>
        {text}
      </span>
    </span>
  );
}
