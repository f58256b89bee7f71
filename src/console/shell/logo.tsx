import type { ReactNode } from "react";

/** The mark of the project. Text beside it says the name. */
export const Logo = (): ReactNode => (
  <svg className="logo" viewBox="0 0 32 32" aria-hidden="true">
    <rect width="32" height="32" rx="8" />
    <path d="M4 13c4-5 8-5 12 0s8 5 12 0M4 21c4-5 8-5 12 0s8 5 12 0" />
  </svg>
);
