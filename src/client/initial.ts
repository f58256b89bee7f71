import type { ValueMode } from "../protocol/messages.ts";
import { waitingState } from "./live-result.ts";
import type { Saved } from "./persistence.ts";
import type { Doc } from "./result-set.ts";
import type { QueryState } from "./types.ts";
import type { ValueCodec } from "./value-codec.ts";

/** Results that a server has read for a page, by the keys of their queries. */
export interface Initial {
  readonly values: ValueMode;
  readonly results: Readonly<Record<string, Saved>>;
}

/** A result with which a page begins. The page is rendered with it on the server, and once more in the browser. */
export interface InitialResult {
  /** The state that both renderings show. */
  readonly state: QueryState<Doc>;
  /** The result from which to resume, once. After that it may be older than what the page has shown. */
  saved: Saved | undefined;
}

/**
 * The results with which a page begins, by the keys of their queries.
 * @param mode Results of another mode are not used.
 */
export function initialResults(
  initial: Initial | undefined,
  mode: ValueMode,
  codec: ValueCodec | undefined,
): Map<string, InitialResult> {
  const results = Object.entries(initial?.values === mode ? initial.results : {});
  return new Map(
    results.map(([key, saved]) => [
      key,
      { saved, state: waitingState(codec?.list(saved.docs) ?? saved.docs) },
    ]),
  );
}
