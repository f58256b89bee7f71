/**
 * The part of a connection that an attachment uses. The narrow interface keeps attachments from closing connections or
 * reading messages, and lets tests build one without a transport.
 */
import type { Identity } from "../../auth/verify-token.ts";
import type { LookupSet } from "../../feed/lookup-set.ts";
import type { SmallSet } from "../../feed/small-set.ts";
import type { Fault } from "../../metrics/guard.ts";
import type { ServerMessage } from "../../protocol/messages.ts";
import type { GatewayContext } from "../context.ts";
import type { Login } from "./login.ts";
import type { Outbox } from "./outbox.ts";

/** The ids of the subscriptions that an attachment serves. */
export type Ids = Pick<SmallSet<string>, "size" | "has"> & Iterable<string>;

/** The parts of a connection that an attachment needs. */
export interface AttachmentOwner {
  readonly context: GatewayContext;
  readonly identity: Identity | null;
  readonly login: Pick<Login, "account" | "values">;
  readonly outbox: Outbox;
  readonly subscriptions: {
    numberFor(key: string): number;
    snapshotTurn(): Promise<() => void>;
    servedBy(attachment: { readonly ids: Ids }): readonly {
      readonly lookups: { readonly sets: readonly LookupSet[] };
    }[];
    readonly changes: { notify(): void };
  };
  readonly progress: { becameLive(afterCatchUp: boolean): void };
  send(message: ServerMessage): void;
  /** The live query cannot be kept up to date. Never throws. */
  attachmentFailed(attachment: { readonly ids: Ids }, error: unknown): void;
  fail(fault: Fault): void;
}
