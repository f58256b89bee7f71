import type { AdminRole } from "../../gateway/admin-options.ts";

/** An admin, as a credential identifies them. */
export interface Admin {
  /** For the audit. */
  readonly name: string;
  readonly roles: ReadonlySet<AdminRole>;
  /** When the credential ends, in epoch milliseconds; `null` if it has no end of its own. */
  readonly expiresAtMs: number | null;
  /** Whether the key that signed the credential is still in use. Other credentials are always trusted. */
  isTrusted(): boolean;
}
