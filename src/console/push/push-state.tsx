import type { ReactNode } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";

/** A push registration in the list. */
export type Registration = AnswerOf<"pushes">["registrations"][number];

/** The state of a registration, as a word with a color. The reason is in its dialog. */
export function PushState({ registration }: { readonly registration: Registration }): ReactNode {
  const { suspended, attempts } = registration;
  if (suspended !== null) return <span className="badge warn">suspended</span>;
  if (attempts !== null && attempts > 0) return <span className="badge warn">retrying</span>;
  return <span className="badge good">active</span>;
}
