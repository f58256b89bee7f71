import type { ReactNode } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";

type State = AnswerOf<"sinks">["sinks"][number]["state"];

/** The state of a sink, as a word with a color. */
export const SinkState = ({ state }: { readonly state: State }): ReactNode => (
  <span className={state === "running" ? "badge good" : "badge warn"}>{state}</span>
);
