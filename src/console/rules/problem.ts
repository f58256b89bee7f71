import type { AnswerOf } from "../../admin/api/endpoints.ts";

type Planned = AnswerOf<"plan">;

/** A mistake in a draft. Lines and columns begin with 1. */
export type Problem = Extract<Planned, { readonly problems: unknown }>["problems"][number];

/** The effect of a draft without mistakes. */
export type Plan = Exclude<Planned, { readonly problems: unknown }>;
