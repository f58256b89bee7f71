import type { ReactNode } from "react";
import { failureText } from "../api/failures.ts";

/** Says why a file was not opened, and what to do. */
export const FileFailure = ({ error }: { readonly error: unknown }): ReactNode =>
  error === null ? null : (
    <p className="bad" role="alert">
      {failureText(error)}
    </p>
  );
