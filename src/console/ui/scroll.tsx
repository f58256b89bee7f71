import type { ReactNode } from "react";

interface ScrollProps {
  readonly label: string;
  readonly children: ReactNode;
}

/** An area that scrolls sideways where its content is wider than the screen. */
export const Scroll = ({ label, children }: ScrollProps): ReactNode => (
  // biome-ignore lint/a11y/noNoninteractiveTabindex: without it the keyboard cannot scroll the area.
  <section className="scroll" tabIndex={0} aria-label={label}>
    {children}
  </section>
);
