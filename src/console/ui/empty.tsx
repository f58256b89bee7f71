import type { ReactNode } from "react";

interface EmptyProps {
  readonly title: string;
  /** The next step. */
  readonly children: ReactNode;
}

/** Shown where there is nothing: says why, and the next step. */
export const Empty = ({ title, children }: EmptyProps): ReactNode => (
  <div className="empty">
    <h2>{title}</h2>
    <p>{children}</p>
  </div>
);
