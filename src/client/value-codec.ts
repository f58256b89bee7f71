import type { ValueMode } from "../protocol/messages.ts";
import type { Doc } from "./result-set.ts";
import type { Change } from "./types.ts";

/** Another form in which an application receives values. `native` of `tidewire/client/native` is one. */
export interface ValueCodec {
  /** The value mode of the connection. */
  readonly mode: ValueMode;
  /** Returns the same array, with the same objects, for the same documents. */
  list(docs: readonly Doc[]): readonly Doc[];
  change(change: Change<Doc>): Change<Doc>;
}
