/**
 * The interface between the core of the client and its parts. The core imports no part, so that a page contains those that it
 * imports itself.
 */
import type { TidewireError } from "../protocol/errors.ts";
import type { ValueMode } from "../protocol/messages.ts";
import type { Fences } from "./fences.ts";
import type { HeldWindows } from "./held-windows.ts";
import type { InitialResults } from "./initial.ts";
import type { Persistence } from "./persistence.ts";
import type { TransportChoice } from "./transport-choice.ts";
import type { Change } from "./types.ts";
import type { ValueCodec } from "./value-codec.ts";
import type { Warnings } from "./warnings.ts";

/** Follows a query for a loop over its changes. */
export type FollowChanges<R> = (listener: {
  readonly change: (change: Change<R>) => void;
  readonly stopped: (error: TidewireError | undefined) => void;
}) => () => void;

/** A part of a client, or several of them. Each is made by the entry of its name. Applications only pass it on. */
export interface Part {
  readonly fences?: () => Fences;
  readonly changes?: <R>(
    result: () => readonly R[],
    follow: FollowChanges<R>,
  ) => AsyncIterableIterator<Change<R>>;
  /** @param prefix Of the keys of queries: another service, or another value mode, has results of its own. */
  readonly persistence?: (prefix: string) => Persistence;
  readonly extended?: (value: unknown, path: string) => unknown;
  readonly growth?: () => HeldWindows;
  readonly initial?: (mode: ValueMode, codec: ValueCodec | undefined) => InitialResults;
  /** @param hasWebSocket Whether the runtime has one, or the application has given one. */
  readonly fallback?: (hasWebSocket: boolean) => TransportChoice;
  /** @param url The address of the service. */
  readonly warnings?: (url: string) => Warnings;
}

/** The error of a client that was made without a part that it needs. */
export const lacksPart = (name: keyof Part, user: string) =>
  new TypeError(`${user} needs \`${name}\` of "tidewire/client/${name}" in \`parts\` of createClient`);
